"""What processes cost: CPU time and peak memory of all that live in a session (setsid), from Linux's /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_SESSION, _CPU = 3, slice(11, 15)
"""Places in /proc/PID/stat after the command's name: session; utime, stime, cutime, cstime (proc_pid_stat(5))."""


def cpu_s(session: int) -> float:
    """Return the CPU seconds, user and system, that the living processes of a session spent, and those they waited for.

    It counts in the kernel's ticks (10 ms): what is measured has to take many of them.
    """
    return sum(sum(map(int, fields[_CPU])) for _, fields in _processes(session)) / _TICKS


def peak_mb(session: int) -> float:
    """Return the sum of the peaks of resident memory of a session's processes, in MB (VmHWM).

    What processes share, as forked workers do, counts in each.
    """
    peak_kib = 0
    for folder, _ in _processes(session):
        with suppress(OSError):
            status = (folder / "status").read_text()
            peak_kib += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return peak_kib * 1024 / 1e6


def _processes(session: int) -> Iterator[tuple[Path, list[str]]]:
    for folder in Path("/proc").glob("[1-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[_SESSION]) == session:
                yield folder, fields
