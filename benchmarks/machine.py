"""What a number has to carry to be had again: the command line, the machine and the versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path


def environment(*packages: str) -> dict[str, str]:
    """Return what this runs on.

    Args:
        packages: those whose versions matter, beside our own.
    """
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "command": shlex.join(sys.orig_argv),
        "commit": said("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "cpu": f"{model[0].partition(': ')[2] if model else platform.processor()}, {os.cpu_count()} cores",
        "load": f"{os.getloadavg()[0]:.1f}",
        "system": platform.platform(),
        **{name: importlib.metadata.version(name) for name in ("postroom", *packages)},
    }


def said(*command: str) -> str:
    """Return what a program says of itself, or that it is not to be had."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"
