"""The benchmarks run: a short form of them, whose numbers mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what letters cost is read from /proc")


def ran(tmp_path: Path, *options: str) -> tuple[str, dict[str, Any]]:
    """Run the benchmarks once, with the null server in Python, and return what they print and what they keep."""
    kept = tmp_path / "run.json"
    command = [sys.executable, str(BENCHMARKS / "run.py"), "--turns=1", "--python-sink", f"--json={kept}", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(kept.read_text())


def test_a_row_of_ours_sends_its_letters_and_is_shown_with_its_command_line(tmp_path: Path) -> None:
    shown, kept = ran(tmp_path, "--letters=12", "bulk")
    (row,) = kept["rows"]
    (turn,) = row["turns"]
    assert row["left out"] is None
    assert row["client"] == "python ours.py bulk"
    assert turn["letters"] == 48
    assert turn["letters_per_s"] > 0
    assert turn["worker_cpu_us"] > 0
    assert turn["redis_commands"] > 1
    assert turn["sink"] == "null_server.py"
    assert "run.py" in kept["environment"]["command"]
    assert "| bulk | Postroom: `send_letters` | " in shown
