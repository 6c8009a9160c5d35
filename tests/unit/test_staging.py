"""What describes a staging system: whatever cannot be read is refused, for it would mail real people."""

from __future__ import annotations

import pytest

from postroom import InvalidSettings, Settings
from postroom_worker.staging import Redirect, findings

QA = "qa@staging.example"


@pytest.mark.parametrize("value", ["*", "*.example", "a b@c@d", "team.example.", ".team.example", "x@", "10.0.0.1"])
def test_an_exception_that_is_no_address_and_no_domain_is_refused(value: str) -> None:
    with pytest.raises(InvalidSettings, match="POSTROOM_REDIRECT_EXCEPT"):
        Redirect.of(Settings(redirect_all=QA, redirect_except=value))


@pytest.mark.parametrize("value", ["maybe", "2", "-", "all"])
def test_a_value_of_hold_all_that_is_neither_yes_nor_no_is_refused(value: str) -> None:
    with pytest.raises(InvalidSettings, match="POSTROOM_HOLD_ALL"):
        Settings.from_environment({"POSTROOM_HOLD_ALL": value})


def test_the_doctor_tells_that_letters_do_not_go_where_they_are_addressed_to() -> None:
    assert list(findings(Settings())) == []
    told = [each.what for each in findings(Settings(redirect_all=QA, redirect_except="a.example", hold_all=True))]
    assert told == [f"all letters go to {QA}, but for 1 addresses and domains", "every letter is held"]
    (wrong,) = findings(Settings(redirect_all="qa"))
    assert "POSTROOM_REDIRECT_ALL" in wrong.what
