"""Looking into processes, as Linux shows them: a worker's children, what they have open, who is at a socket's end."""

from __future__ import annotations

import re
from pathlib import Path

from postroom_worker.dev.fleet import Worker


def children(worker: Worker) -> list[int]:
    """Return the processes of a worker that deliver."""
    pid = worker.process.pid
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_running(pid: int) -> bool:
    """True until a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def open_files(pid: int) -> list[str]:
    """Return what a process has open: a path, or `socket:[INODE]`."""
    try:
        return [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return []


def is_at(pid: int, port: int) -> bool:
    """True when a process has the socket that is bound to a port of the loopback interface."""
    inode = _inode(port)
    return bool(inode) and f"socket:[{inode}]" in open_files(pid)


def _inode(port: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = re.split(r"\s+", line.strip())
        if fields[1] == f"0100007F:{port:04X}":
            return fields[9]
    return ""
