"""The one door to the clocks.

Due times and leases are judged by Redis's clock, inside the scripts; what is here dates letters and measures waits.
"""

from __future__ import annotations

import time


def wall_ms() -> int:
    """Return the time of day in milliseconds since 1970, as this machine believes it."""
    return time.time_ns() // 1_000_000


def steady_s() -> float:
    """Return seconds of a clock that never jumps, for measuring waits.

    CLOCK_BOOTTIME goes on while a machine is suspended, which a lease has to notice; elsewhere the monotonic clock.
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def pause(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)
