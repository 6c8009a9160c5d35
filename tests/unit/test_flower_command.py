"""The password of the monitor: made once, for its owner's eyes, and never one that everybody could read."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from flower import urls

from postroom.cli import main
from postroom_worker import monitor
from postroom_worker.flower_command import _password


def test_a_password_is_made_for_its_owner_alone_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "new" / "password"
    made = _password(file)
    assert len(made) >= 20
    assert file.stat().st_mode & 0o777 == 0o600
    assert _password(file) == made
    assert _password(tmp_path / "other") != made


def test_a_password_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    file.chmod(0o644)
    with pytest.raises(click.ClickException, match="chmod 600") as refused:
        _password(file)
    assert "secret" not in refused.value.message


@pytest.mark.parametrize("text", ["", "\n", "one,two"])
def test_a_file_that_holds_no_password_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "password"
    file.touch(0o600)
    file.write_text(text)
    with pytest.raises(click.ClickException, match="without a comma"):
        _password(file)


def test_flower_of_another_ledger_than_the_environments_is_refused() -> None:
    result = CliRunner().invoke(main, ["--redis-url", "redis://elsewhere/0", "flower"])
    assert result.exit_code == 2
    assert "POSTROOM_REDIS_URL" in result.stderr


def test_a_flower_that_cannot_be_guarded_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "handlers", [("/counters", None)])
    with pytest.raises(RuntimeError, match="cannot be guarded"):
        monitor.guard(frozenset())
