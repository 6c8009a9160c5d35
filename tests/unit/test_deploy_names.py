"""What the deployment files and their page name is there: settings, commands, metrics, files."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import click
import pytest
from celery.bin.celery import celery
from flower.options import default_options

from postroom import metrics
from postroom.cli import main
from postroom.settings import Settings, variable

ROOT = Path(__file__).parents[2]
FOLDERS = [each for each in (ROOT / "deploy").rglob("*") if each.is_file()]
PATHS = [str(each.relative_to(ROOT)) for each in (ROOT / "docker-compose.yml", ROOT / "docs/deploy.md", *FOLDERS)]
TEXT = {path: (ROOT / path).read_text() for path in (*PATHS, "README.md")}
WORDS = r"(?:[\"',\s]|\[|\])+"
"""What stands between the words of a command: in a shell, a JSON list, or a YAML list."""


@pytest.mark.parametrize("path", TEXT)
def test_every_variable_that_is_named_is_a_setting(path: str) -> None:
    named = set(re.findall(r"\bPOSTROOM_[A-Z_]+[A-Z]\b(?!_)", TEXT[path]))
    assert named <= {variable(each.name) for each in fields(Settings)}


@pytest.mark.parametrize("path", TEXT)
def test_every_flower_variable_is_an_option_of_flower_which_ignores_others_silently(path: str) -> None:
    named = {name.lower() for name in re.findall(r"\bFLOWER_([A-Z_]+)", TEXT[path])}
    assert named - {"password"} <= set(default_options)


def test_every_command_that_is_run_is_there() -> None:
    ours, celerys = set(), set()
    for path in PATHS:
        ours |= set(
            re.findall(rf"(?:command: |args: \[|/bin/|worker |-- |^    )postroom{WORDS}([a-z]+)", TEXT[path], re.M)
        )
        celerys |= set(re.findall(rf"celery{WORDS}-A{WORDS}postroom_worker{WORDS}([a-z]+)", TEXT[path]))
    context = click.Context(main)
    assert {"exporter", "flower"} <= ours
    assert ours <= set(main.list_commands(context))
    assert {"worker", "inspect"} <= celerys <= set(celery.list_commands(context))


def test_the_metrics_that_decide_how_many_workers_run_are_there() -> None:
    named = set(re.findall(r"\bpostroom_[a-z_]+(?=\{)", TEXT["deploy/kubernetes/keda/worker.yaml"]))
    assert named
    assert named <= {each.name for each in metrics.METRICS if each.kind == "gauge"}


def test_every_file_that_the_page_names_is_there_and_it_names_every_folder() -> None:
    named = set(re.findall(r"\bdeploy/[\w./-]*\w", TEXT["docs/deploy.md"]))
    assert {name for name in named if not (ROOT / name).exists()} == set()
    for folder in ("compose", "systemd", "kubernetes", "prometheus", "grafana"):
        assert any(name.startswith(f"deploy/{folder}") for name in named), folder
