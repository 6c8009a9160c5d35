"""The dashboard and the alerts in deploy/: they name metrics, labels, values and commands that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from postroom import metrics
from postroom.broker import BULK_QUEUE, QUEUE
from postroom.cli import main
from postroom.settings import Settings, variable
from postroom.states import LetterState
from postroom_worker.outcome import Outcome

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/postroom.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
PLAYED = ROOT / "tests/data/alerts_test.yml"

KINDS = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
NAMES = {each.name + suffix: each for each in metrics.METRICS for suffix in KINDS[each.kind]}
VALUES = {
    "outcome": {str(each) for each in Outcome},
    "queue": {QUEUE, BULK_QUEUE},
    "state": {*map(str, LetterState), "closed", "open", "half-open", "suspended"},
}

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="no promtool: apt-get install prometheus")


def expressions() -> Iterator[tuple[str, str]]:
    """Every query of the alerts and the dashboard, and where it stands."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


EXPRESSIONS = list(expressions())
by_place = pytest.mark.parametrize("expression", [each for _, each in EXPRESSIONS], ids=[at for at, _ in EXPRESSIONS])


@by_place
def test_every_metric_that_is_named_is_there(expression: str) -> None:
    named = set(re.findall(r"\bpostroom_\w+", expression))
    assert named
    assert named <= set(NAMES)


@by_place
def test_every_metric_is_asked_for_by_labels_and_values_that_it_has(expression: str) -> None:
    for name, selector in re.findall(r"\b(postroom_\w+)\{([^}]*)\}", expression):
        for label, text in re.findall(r'(\w+)\s*(?:=~|!=|!~|=)\s*"([^"]*)"', selector):
            assert label in NAMES[name].labels, name
            assert text == "$relay" or set(text.split("|")) <= VALUES[label], name


@by_place
def test_what_is_summed_by_labels_has_them(expression: str) -> None:
    labels = {label for name in re.findall(r"\bpostroom_\w+", expression) for label in (*NAMES[name].labels, "le")}
    for grouped in re.findall(r"\bby \(([\w, ]+)\)", expression):
        assert set(grouped.split(", ")) <= labels


def test_no_metric_is_without_a_panel() -> None:
    shown = {
        NAMES[name].name
        for panel in PANELS
        for target in panel.get("targets", [])
        for name in re.findall(r"\bpostroom_\w+", target["expr"])
    }
    assert shown == {each.name for each in metrics.METRICS}


def test_panels_have_ids_of_their_own_and_do_not_cover_each_other() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


def test_the_dashboard_asks_the_prometheus_that_is_chosen() -> None:
    assert {panel["datasource"]["uid"] for panel in PANELS if "datasource" in panel} == {"${datasource}"}
    assert {"datasource", "relay"} == {each["name"] for each in DASHBOARD["templating"]["list"]}


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_every_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    told = rule["annotations"]
    assert set(told) == {"summary", "description"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    text = f"{told['summary']} {told['description']}"
    context = main.make_context("postroom", ["stats"])
    for command in re.findall(r"`postroom (\w+)", text):
        assert main.get_command(context, command), command
    assert set(re.findall(r"POSTROOM_\w+", text)) <= {variable(name) for name in Settings.__slots__}


def test_every_alert_is_played_through() -> None:
    played = PLAYED.read_text()
    assert [rule["alert"] for rule in RULES if f'"{rule["alert"]}"' not in played] == []


def promtool(*arguments: str | Path) -> None:
    """Run it; what it finds wrong fails the test."""
    done = subprocess.run([str(PROMTOOL), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_promtool_finds_nothing_wrong_with_rules_and_configuration() -> None:
    promtool("check", "rules", ALERTS)
    promtool("check", "config", ALERTS.with_name("prometheus.yml"))
    promtool("test", "rules", PLAYED)


@needs_promtool
def test_promtool_can_read_every_query_of_the_dashboard(tmp_path: Path) -> None:
    queries = [query.replace("$__rate_interval", "5m").replace("$relay", ".*") for _, query in EXPRESSIONS]
    rules = [{"record": f"query:{place}", "expr": query} for place, query in enumerate(queries)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
