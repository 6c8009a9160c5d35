"""The Kubernetes manifests, by the schemas of Kubernetes 1.34 and KEDA, and by what letters need."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from postroom.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kubernetes"
KUBERNETES: dict[str, Any] = json.loads((ROOT / "tests/data/kubernetes-1.34.json").read_text())
SCALED_OBJECT: dict[str, Any] = json.loads((ROOT / "tests/data/keda-scaledobject.json").read_text())
OVERLAYS = ("base", "redis", "sentinel", "rabbitmq")
OTHERS = {"RabbitmqCluster"}
"""Kinds whose schema is not here."""

building = pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl, for its kustomize")

Manifest = dict[str, Any]


def manifests(text: str) -> list[Manifest]:
    return [each for each in yaml.safe_load_all(text) if each]


def is_manifest(path: Path) -> bool:
    return "kind: " in path.read_text() and path.name != "kustomization.yaml"


FILES = sorted(path for path in FOLDER.rglob("*.yaml") if is_manifest(path))
WRITTEN = [(path.relative_to(FOLDER), each) for path in FILES for each in manifests(path.read_text())]
PODS = [
    pytest.param(each, id=each["metadata"]["name"])
    for _, each in WRITTEN
    if each["kind"] in ("Deployment", "StatefulSet")
]


@cache
def built(folder: Path) -> list[Manifest]:
    """What `kubectl apply --kustomize` would apply."""
    command = ["kubectl", "kustomize", str(folder)]
    return manifests(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def mistakes(manifest: Manifest) -> list[str]:
    """What a schema finds wrong with it."""
    kind = manifest["kind"]
    if kind == "ScaledObject":
        schema = SCALED_OBJECT
    else:
        definitions = KUBERNETES["$defs"]
        name = next(name for name in definitions if is_kind(definitions[name], manifest["apiVersion"], kind))
        schema = {**KUBERNETES, "$ref": f"#/$defs/{name}"}
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(manifest)]


def is_kind(definition: dict[str, Any], version: str, kind: str) -> bool:
    properties = definition.get("properties", {})
    named = [properties.get(each, {}).get("enum", []) for each in ("apiVersion", "kind")]
    return named == [[version], [kind]]


@pytest.mark.parametrize(
    "manifest",
    [pytest.param(each, id=f"{path}-{each['kind']}") for path, each in WRITTEN if each["kind"] not in OTHERS],
)
def test_a_manifest_follows_its_schema(manifest: Manifest) -> None:
    assert mistakes(manifest) == []
    misspelt = {**manifest, "spec": {**manifest["spec"], "replica": 2}}
    assert mistakes(misspelt), "the schema finds mistakes"


@building
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_an_overlay_makes_follows_its_schemas(overlay: str) -> None:
    found = [each for each in built(FOLDER / overlay) if each["kind"] not in OTHERS]
    assert {each["metadata"]["name"] for each in found} >= {"worker", "flower", "exporter"}
    assert [mistakes(each) for each in found] == [[]] * len(found)


@building
def test_the_kustomization_that_the_page_gives_changes_what_it_names_and_leaves_the_scaling_to_keda(
    tmp_path: Path,
) -> None:
    (given,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/deploy.md").read_text(), re.S)
    shutil.copytree(FOLDER, tmp_path / "deploy/kubernetes")
    (tmp_path / "kustomization.yaml").write_text(given)
    found = {each["kind"] + each["metadata"]["name"]: each for each in built(tmp_path)}
    worker = found["Deploymentworker"]["spec"]
    assert worker["template"]["spec"]["containers"][0]["image"] == "registry.example.org/postroom:0.1.0"
    (config,) = [each["data"] for name, each in found.items() if name.startswith("ConfigMappostroom")]
    assert config["POSTROOM_EHLO_NAME"] == "mail.example.org"
    assert config["POSTROOM_REDIS_URL"].startswith("sentinel://")
    assert "replicas" not in worker, "else each `kubectl apply` would take back what KEDA decided"
    assert found["ScaledObjectworker"]["spec"] == next(of_kind("ScaledObject"))["spec"]


@building
def test_the_variants_say_where_their_servers_are() -> None:
    sentinel = {each["kind"] + each["metadata"]["name"]: each for each in built(FOLDER / "sentinel")}
    (config,) = [each for name, each in sentinel.items() if name.startswith("ConfigMappostroom")]
    url = config["data"]["POSTROOM_REDIS_URL"]
    assert url == "sentinel://valkey-0.valkey,valkey-1.valkey,valkey-2.valkey/0?master=postroom"
    assert sentinel["StatefulSetvalkey"]["spec"]["replicas"] == 3
    assert sentinel["Servicevalkey"]["spec"]["clusterIP"] == "None"
    for each in built(FOLDER / "rabbitmq"):
        if each["kind"] == "Deployment":
            (container,) = each["spec"]["template"]["spec"]["containers"]
            names = [variable["name"] for variable in container["env"]]
            assert names == ["RABBITMQ_USER", "RABBITMQ_PASSWORD", "POSTROOM_BROKER_URL"], "each before its use"


@pytest.mark.parametrize("manifest", PODS)
def test_a_pod_runs_without_root_rights_or_writable_files_of_its_own(manifest: Manifest) -> None:
    pod = manifest["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False, "a service named flower would set FLOWER_PORT, which Flower reads"
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert set(container["resources"]["limits"]) == {"memory"}


def test_ours_run_as_the_user_of_the_image() -> None:
    user = next(line for line in (ROOT / "deploy/Dockerfile").read_text().splitlines() if line.startswith("USER "))
    for each in of_kind("Deployment"):
        context = each["spec"]["template"]["spec"]["securityContext"]
        assert user == f"USER {context['runAsUser']}:{context['runAsGroup']}"


def test_a_worker_that_is_stopped_has_time_for_the_letters_in_hand() -> None:
    pod = worker()["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > Settings().content_timeout_s
    assert "lifecycle" not in pod["containers"][0]


def test_no_worker_is_killed_because_the_broker_is_away() -> None:
    """Each keeps the outcomes it has in hand until Redis is back: who dies before leaves uncertain letters."""
    (container,) = worker()["spec"]["template"]["spec"]["containers"]
    assert "inspect ping" in container["startupProbe"]["exec"]["command"][-1]
    assert not {"livenessProbe", "readinessProbe"} & set(container)


def test_an_update_never_leaves_fewer_workers() -> None:
    assert worker()["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_workers_are_never_scaled_to_none_for_they_look_at_the_schedule() -> None:
    (scaled,) = of_kind("ScaledObject")
    assert scaled["spec"]["minReplicaCount"] >= 2
    assert scaled["spec"]["scaleTargetRef"]["name"] == worker()["metadata"]["name"]
    assert "idleReplicaCount" not in scaled["spec"]


def test_no_secret_is_written_down_and_each_of_ours_is_given_its_own_alone() -> None:
    assert not list(of_kind("Secret"))
    given = {
        each["metadata"]["name"]: {
            source["secretRef"]["name"]
            for source in each["spec"]["template"]["spec"]["containers"][0]["envFrom"]
            if "secretRef" in source
        }
        for each in of_kind("Deployment")
    }
    assert given == {
        "worker": {"postroom-ledger", "postroom-worker"},
        "flower": {"postroom-ledger", "postroom-flower"},
        "exporter": {"postroom-ledger"},
    }


@pytest.mark.parametrize("path", ["redis/redis.yaml", "sentinel/valkey.conf"])
def test_the_ledger_is_durable_and_never_evicted(path: str) -> None:
    words = (FOLDER / path).read_text().replace('"', "").replace("--", "").replace("- ", "").split()
    following = dict(pairwise(words))
    assert following["appendonly"] == "yes"
    assert following["appendfsync"] == "everysec"
    assert following["maxmemory-policy"] == "noeviction"


def of_kind(kind: str) -> Iterator[Manifest]:
    return (each for _, each in WRITTEN if each["kind"] == kind)


def worker() -> Manifest:
    return next(each for each in of_kind("Deployment") if each["metadata"]["name"] == "worker")
