"""What is shipped to be run with Docker: docker-compose.yml, what goes beside it, and the image they build."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft201909Validator

from postroom.settings import Settings
from postroom_worker import app

ROOT = Path(__file__).parents[2]


def merged(base: Any, over: Any) -> Any:
    """Return one Compose file with another over it, by Compose's rules as far as ours ask for them."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return base | {key: merged(base.get(key), value) for key, value in over.items()}


def compose(*names: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        found = merged(found, yaml.safe_load((ROOT / name).read_text()))
    return found


ALONE = "docker-compose.yml"
OVERRIDES = ("deploy/compose/rabbitmq.yml", "deploy/compose/sentinel.yml")
COMPOSE = compose(ALONE)
VARIANTS = {name: compose(ALONE, *([name] if name != ALONE else [])) for name in (ALONE, *OVERRIDES)}
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ALL_SERVICES = [(variant, name) for variant, found in VARIANTS.items() for name in found["services"]]


def instructions(dockerfile: str) -> list[tuple[str, str]]:
    """Return what a Dockerfile says, as pairs of an instruction and its argument."""
    text = re.sub(r"\\\n\s*", "", dockerfile)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(name, argument) for name, _, argument in (line.partition(" ") for line in lines)]


DOCKERFILE = instructions((ROOT / "deploy/Dockerfile").read_text())
RUNTIME = dict(DOCKERFILE[max(at for at, (name, _) in enumerate(DOCKERFILE) if name == "FROM") :])
"""The last stage: it is what runs. Of an instruction that is given several times, the last counts."""


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_compose_reads_follows_its_specification(variant: str) -> None:
    schema = json.loads((ROOT / "tests/data/compose-spec.json").read_text())
    for read in (yaml.safe_load((ROOT / variant).read_text()), VARIANTS[variant]):
        assert [error.message for error in Draft201909Validator(schema).iter_errors(read)] == []
    misspelt = deepcopy(VARIANTS[variant])
    misspelt["services"]["redis"]["healthchek"] = {}
    assert list(Draft201909Validator(schema).iter_errors(misspelt)), "the schema finds mistakes"


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_service_refers_to_is_there(variant: str) -> None:
    found = VARIANTS[variant]
    for service in found["services"].values():
        assert set(service.get("depends_on", ())) <= set(found["services"])
        for mounted in service.get("volumes", ()):
            source = mounted.partition(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in found["volumes"]
        for config in service.get("configs", ()):
            assert (config if isinstance(config, str) else config["source"]) in found["configs"]
    for config in found.get("configs", {}).values():
        # Of a file, for it is mounted: content would be copied in, which no engine does to what is read-only.
        assert (ROOT / config["file"]).is_file()


def test_the_ledger_is_durable_and_never_evicted() -> None:
    command: list[str] = SERVICES["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    volume, _, folder = SERVICES["redis"]["volumes"][0].partition(":")
    assert folder == "/data", "where the image keeps its files"
    assert volume in COMPOSE["volumes"]


@pytest.mark.parametrize(("variant", "name"), ALL_SERVICES)
def test_nothing_is_published_beyond_this_machine(variant: str, name: str) -> None:
    for port in VARIANTS[variant]["services"][name].get("ports", []):
        assert port.startswith("127.0.0.1:")


def test_the_monitors_ask_for_a_password_and_there_is_none_by_default() -> None:
    environment = SERVICES["flower"]["environment"]
    assert re.fullmatch(r"\w+:\$\{FLOWER_PASSWORD:\?[^}]+\}", environment["FLOWER_BASIC_AUTH"])
    assert SERVICES["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"].endswith(":-${FLOWER_PASSWORD}}")


@pytest.mark.parametrize(("variant", "name"), ALL_SERVICES)
def test_every_service_says_whether_it_works(variant: str, name: str) -> None:
    service = VARIANTS[variant]["services"][name]
    if name == "worker":
        assert "inspect ping" in RUNTIME["HEALTHCHECK"]
    else:
        assert service["healthcheck"]["test"]


@pytest.mark.parametrize(("variant", "name"), ALL_SERVICES)
def test_no_service_runs_as_root_or_can_change_its_own_files(variant: str, name: str) -> None:
    service = VARIANTS[variant]["services"][name]
    user = str(service.get("user", RUNTIME["USER"] if is_ours(service) else "root"))
    assert user.partition(":")[0] not in ("root", "0", "")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.parametrize(("variant", "name"), ALL_SERVICES)
def test_every_service_is_started_again_when_it_ends(variant: str, name: str) -> None:
    assert VARIANTS[variant]["services"][name]["restart"] == "unless-stopped"


def test_compose_runs_the_commands_that_the_readme_gives() -> None:
    lines = (line.strip() for line in (ROOT / "README.md").read_text().splitlines())
    given = [shlex.split(line) for line in lines if line.startswith(("celery ", "postroom flower"))]
    for name, words in (("worker", 4), ("flower", 2)):
        assert shlex.split(SERVICES[name]["command"])[:words] in [each[:words] for each in given]
    assert json.loads(RUNTIME["CMD"]) == shlex.split(SERVICES["worker"]["command"])


def test_what_is_not_needed_to_send_is_in_profiles() -> None:
    profiles = {name: service.get("profiles", []) for name, service in SERVICES.items()}
    assert {name for name, found in profiles.items() if not found} == {"redis", "worker", "flower"}
    assert {name for name, found in profiles.items() if found == ["mail"]} == {"mail"}
    assert {name for name, found in profiles.items() if found == ["metrics"]} == {"prometheus", "exporter", "grafana"}


def test_there_are_two_workers_so_that_one_may_be_away() -> None:
    assert SERVICES["worker"]["deploy"]["replicas"] == 2


def test_a_worker_that_is_stopped_has_time_for_the_letters_in_hand() -> None:
    grace_s = 60 * int(SERVICES["worker"]["stop_grace_period"].removesuffix("m"))
    assert grace_s > max(app.conf.worker_soft_shutdown_timeout, Settings().lease_s, Settings().content_timeout_s)


def test_the_worker_delivers_to_the_mail_catcher_unless_another_relay_is_named() -> None:
    relay = SERVICES["worker"]["environment"]["POSTROOM_RELAY_URL"]
    assert relay == "${POSTROOM_RELAY_URL:-smtp+plain://mail:1025}"
    assert "mail" in SERVICES


def test_what_is_set_for_staging_reaches_the_worker() -> None:
    environment = SERVICES["worker"]["environment"]
    for name in ("POSTROOM_REDIRECT_ALL", "POSTROOM_REDIRECT_EXCEPT", "POSTROOM_HOLD_ALL"):
        assert environment[name] == f"${{{name}:-}}"


@pytest.mark.parametrize("variant", OVERRIDES)
def test_a_variant_tells_all_of_ours_where_its_servers_are(variant: str) -> None:
    changed = "POSTROOM_BROKER_URL" if "rabbitmq" in variant else "POSTROOM_REDIS_URL"
    ours = {name: each for name, each in VARIANTS[variant]["services"].items() if is_ours(each)}
    told = {name: each["environment"].get(changed, "") for name, each in ours.items()}
    assert len({told[name] for name in ("worker", "flower")}) == 1
    hosts = re.split(r"[,:/?]", told["worker"].partition("://")[2].rpartition("@")[2])
    assert hosts[0] in VARIANTS[variant]["services"]
    if changed == "POSTROOM_REDIS_URL":
        assert told["exporter"] == told["worker"]
        assert set(hosts[: hosts.index("0")]) <= set(VARIANTS[variant]["services"])
        assert "sentinel monitor postroom " in (ROOT / "deploy/kubernetes/sentinel/sentinel.conf").read_text()
        assert told["worker"].endswith("?master=postroom")


def test_prometheus_finds_the_exporter_and_its_rules() -> None:
    """The exporter shares Prometheus's loopback, and so is where it is on any machine that runs both."""
    assert SERVICES["exporter"]["network_mode"] == "service:prometheus"
    folder = ROOT / "deploy/prometheus"
    read = yaml.safe_load((folder / "prometheus.yml").read_text())
    targets = [
        target for each in read["scrape_configs"] for some in each["static_configs"] for target in some["targets"]
    ]
    settings = Settings()
    assert targets == [f"{settings.metrics_address}:{settings.metrics_port}"]
    for rules in read["rule_files"]:
        assert (folder / rules).is_file()


def test_grafana_is_given_the_dashboards_that_there_are() -> None:
    provisioned = (ROOT / "deploy/grafana/provisioning/dashboards.yml").read_text()
    provided = yaml.safe_load(provisioned)["providers"][0]["options"]["path"]
    source, target, _ = SERVICES["grafana"]["volumes"][0].split(":")
    assert provided == target
    assert list((ROOT / source).glob("*.json"))


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
    assert extras == ["worker", "monitor", "metrics"]
    assert set(extras) <= set(declared)


def is_ours(service: dict[str, Any]) -> bool:
    """True for a service of the image that deploy/Dockerfile makes."""
    return bool(service.get("build", {}).get("dockerfile") == "deploy/Dockerfile")
