"""The systemd units: what they run, how they stop, and what they may not."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from postroom.settings import Settings

FOLDER = Path(__file__).parents[2] / "deploy/systemd"
UNITS = sorted(each.name for each in FOLDER.glob("*.service"))
EXPOSURE_MAX = 20
"""Tenths, of what `systemd-analyze security` gives: it calls 2.0 and less OK."""

verifying = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")


def read(unit: str) -> dict[str, str]:
    """What a unit says, with what all have in common; of a key that is given several times, the last."""
    text = (FOLDER / unit).read_text() + (FOLDER / "postroom-.service.d/common.conf").read_text()
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.M))


@verifying
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong(unit: str, tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER, tmp_path / "units")
    text = (folder / unit).read_text()
    (folder / unit).write_text(text.replace("/opt/postroom/bin", str(Path(sys.executable).parent)))
    found = subprocess.run(["systemd-analyze", "verify", folder / unit], capture_output=True, text=True)
    about_ours = [line for line in found.stderr.splitlines() if "postroom" in line or str(folder) in line]
    assert (found.returncode, about_ours) == (0, [])


@verifying
@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_may_do_little(unit: str) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={EXPOSURE_MAX}", "--no-pager"]
    found = subprocess.run([*command, FOLDER / unit], capture_output=True, text=True)
    if "unrecognized option" in found.stderr:
        pytest.skip("needs systemd 250 or later")
    assert found.returncode == 0, found.stdout[-200:] + found.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_runs_as_nobody_in_particular_and_reads_its_secrets_from_a_file(unit: str) -> None:
    assert read(unit)["DynamicUser"] == "yes"
    assert "password" not in read(unit)["ExecStart"]
    assert read(unit)["EnvironmentFile"].startswith("/etc/postroom/")


def test_there_is_a_unit_for_each_of_ours() -> None:
    assert UNITS == ["postroom-exporter.service", "postroom-flower.service", "postroom-worker.service"]


def test_a_worker_that_is_stopped_has_time_for_the_letters_in_hand_and_its_children_are_not_told() -> None:
    assert int(read("postroom-worker.service")["TimeoutStopSec"]) > Settings().content_timeout_s
    assert read("postroom-worker.service")["KillMode"] == "mixed"
