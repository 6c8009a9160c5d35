"""The one door to the clocks.

Due times and leases are judged by Redis's clock, inside the scripts; what is here dates letters and measures waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial


def wall_ms() -> int:
    """Return the time of day in milliseconds since 1970, as this machine believes it."""
    return time.time_ns() // 1_000_000


def _steady_clock() -> Callable[[], float]:
    if hasattr(time, "CLOCK_BOOTTIME"):
        return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    return time.monotonic


steady_s = _steady_clock()
"""Returns seconds of a clock that never jumps, for measuring waits.

CLOCK_BOOTTIME goes on while a machine is suspended, which a lease has to notice; elsewhere the monotonic clock.
"""


worked_s = time.thread_time
"""Returns the seconds of the processor that the calling thread has used."""


def pause(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)
