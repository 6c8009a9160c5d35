"""The folder of a run: the demo and the chaos run begin with an empty one, and empty none but their own."""

from __future__ import annotations

import shutil
from pathlib import Path

import click


def begin_in(folder: Path, own: Path) -> None:
    """Have an empty folder.

    Args:
        folder: which; made if missing.
        own: the one that is ours, whatever an earlier run has left in it.

    Raises:
        UsageError: it is another, and holds something.
    """
    if folder != own and folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty: empty it yourself, or give another --folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
