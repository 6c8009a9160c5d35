"""What is shipped to be run: docker-compose.yml and the image it builds, as far as they can be read without Docker."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from flower.options import default_options
from jsonschema import Draft201909Validator

from postroom.settings import Settings, variable
from postroom_worker import app

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
README = (ROOT / "README.md").read_text()


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return what a Dockerfile says, as pairs of an instruction and its argument."""
    text = re.sub(r"\\\n\s*", "", dockerfile)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, argument) for name, _, argument in (line.partition(" ") for line in lines)]


DOCKERFILE = instructions((ROOT / "deploy/Dockerfile").read_text())
RUNTIME = dict(DOCKERFILE[max(at for at, (name, _) in enumerate(DOCKERFILE) if name == "FROM") :])
"""The last stage: it is what runs. Of an instruction that is given several times, the last counts."""


def test_docker_compose_yml_follows_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests/data/compose-spec.json").read_text())
    assert [error.message for error in Draft201909Validator(schema).iter_errors(COMPOSE)] == []
    misspelt = {"services": {"redis": {**SERVICES["redis"], "healthchek": {}}}}
    assert list(Draft201909Validator(schema).iter_errors(misspelt)), "the schema finds mistakes"


@pytest.mark.parametrize("path", ["docker-compose.yml", "deploy/Dockerfile", "README.md"])
def test_every_variable_that_is_named_is_a_setting(path: str) -> None:
    named = set(re.findall(r"\bPOSTROOM_[A-Z_]+", (ROOT / path).read_text()))
    assert named <= {variable(each.name) for each in fields(Settings)}


def test_every_flower_variable_is_an_option_of_flower_which_ignores_others_silently() -> None:
    named = {name for name in SERVICES["flower"]["environment"] if name.startswith("FLOWER_")}
    assert {name.removeprefix("FLOWER_").lower() for name in named} <= set(default_options)


def test_the_ledger_is_durable_and_never_evicted() -> None:
    command: list[str] = SERVICES["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    volume, _, folder = SERVICES["redis"]["volumes"][0].partition(":")
    assert folder == "/data", "where the image keeps its files"
    assert volume in COMPOSE["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_is_published_beyond_this_machine(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")


def test_the_monitor_asks_for_a_password_and_there_is_none_by_default() -> None:
    environment = SERVICES["flower"]["environment"]
    assert re.fullmatch(r"\w+:\$\{FLOWER_PASSWORD:\?[^}]+\}", environment["FLOWER_BASIC_AUTH"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_says_whether_it_works(name: str) -> None:
    found = SERVICES[name].get("healthcheck", {}).get("test") or (is_ours(name) and RUNTIME["HEALTHCHECK"])
    assert found


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_runs_as_root_or_can_change_its_own_files(name: str) -> None:
    user = str(SERVICES[name].get("user", RUNTIME["USER"] if is_ours(name) else "root"))
    assert user.partition(":")[0] not in ("root", "0", "")
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in SERVICES[name]["security_opt"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_started_again_when_it_ends(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_compose_runs_the_commands_that_the_readme_gives() -> None:
    lines = (line.strip() for line in README.splitlines())
    given = [shlex.split(line) for line in lines if line.startswith(("celery ", "postroom flower"))]
    for name, words in (("worker", 4), ("flower", 2)):
        assert shlex.split(SERVICES[name]["command"])[:words] in [each[:words] for each in given]
    assert json.loads(RUNTIME["CMD"]) == shlex.split(SERVICES["worker"]["command"])


def test_a_worker_that_is_stopped_has_time_for_the_letters_in_hand() -> None:
    grace_s = int(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))
    assert grace_s > max(app.conf.worker_soft_shutdown_timeout, Settings().lease_s)


def test_the_worker_delivers_to_the_mail_catcher_unless_another_relay_is_named() -> None:
    relay = SERVICES["worker"]["environment"]["POSTROOM_RELAY_URL"]
    assert relay == "${POSTROOM_RELAY_URL:-smtp+plain://mail:1025}"
    assert "mail" in SERVICES


def test_what_is_set_for_staging_reaches_the_worker() -> None:
    environment = SERVICES["worker"]["environment"]
    for name in ("POSTROOM_REDIRECT_ALL", "POSTROOM_REDIRECT_EXCEPT", "POSTROOM_HOLD_ALL"):
        assert environment[name] == f"${{{name}:-}}"


def test_the_image_is_made_of_files_that_its_context_holds() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    for name, argument in DOCKERFILE:
        if name == "COPY" and not argument.startswith("--from"):
            for source in argument.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source}" in ignored


def test_the_image_has_the_extras_that_its_commands_need() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installed = next(argument for name, argument in DOCKERFILE if name == "RUN" and ".whl)[" in argument)
    extras = re.findall(r"\.whl\)\[([\w,]+)\]", installed)[0].split(",")
    assert extras == ["worker", "monitor"]
    assert set(extras) <= set(declared)


def is_ours(name: str) -> bool:
    """True for a service of the image that deploy/Dockerfile makes."""
    return bool(SERVICES[name].get("build", {}).get("dockerfile") == "deploy/Dockerfile")
