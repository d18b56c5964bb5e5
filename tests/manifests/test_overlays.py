"""Every overlay is what Kubernetes and its operators take, and holds together."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from k8s.checks import problems
from k8s.checks.pods import Object, name_of, pods, ray_clusters
from k8s.checks.workloads import SECRETS, quantity, secrets

ROOT = Path(__file__).parents[2]
KUBERNETES = "1.34"
_known: set[str] = set()


def _unknown_kind(o: Object) -> bool:
    return o["apiVersion"].startswith(("ray.io/", "monitoring.coreos.com/"))


def _strictly(o: Object) -> None:
    """Most objects stand in every overlay: each is looked at once."""
    key = json.dumps(o, sort_keys=True)
    if key not in _known:
        kubernetes_validate.validate(o, KUBERNETES, strict=True)
        _known.add(key)


def test_kubernetes_takes_every_object(overlay: list[Object]) -> None:
    for o in overlay:
        if not _unknown_kind(o):
            _strictly(o)


def test_kubernetes_takes_the_pods_of_ray(overlay: list[Object]) -> None:
    # The schema of KubeRay's CRD says less about a pod than that of Kubernetes itself.
    for cluster in ray_clusters(overlay):
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
            template = group["template"]
            metadata = template["metadata"] | {"name": "a"}
            _strictly(
                {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
            )


def test_custom_resources_fit_their_closed_schemas(
    overlay: list[Object],
    crds: dict[tuple[str, str], dict[str, Any]],
    defaulted: Callable[[Any, dict[str, Any]], Any],
) -> None:
    for o in overlay:
        if _unknown_kind(o):
            schema = crds[o["apiVersion"], o["kind"]]
            jsonschema.Draft202012Validator(schema).validate(defaulted(o, schema))


def test_nothing_is_wrong(
    overlay: list[Object],
    crds: dict[tuple[str, str], dict[str, Any]],
    defaulted: Callable[[Any, dict[str, Any]], Any],
) -> None:
    for o in overlay:
        if _unknown_kind(o):
            defaulted(o, crds[o["apiVersion"], o["kind"]])
    assert problems(overlay) == []


def test_objects_have_names_of_their_own(overlay: list[Object]) -> None:
    names = [(o["apiVersion"], name_of(o)) for o in overlay]
    assert len(set(names)) == len(names)


def test_a_config_map_is_small_enough(overlay: list[Object]) -> None:
    for o in overlay:
        if o["kind"] == "ConfigMap":
            assert len(json.dumps(o)) < 2**20, name_of(o)


def test_minikube_has_room_for_all_of_it(render: Callable[[Path], list[Object]]) -> None:
    cpu = memory = 0.0
    for pod in pods(render(ROOT / "k8s/overlays/minikube")):
        for container in pod.spec["containers"]:
            wanted = container["resources"]["requests"]
            cpu += quantity(wanted["cpu"])
            memory += quantity(wanted["memory"])
    # Of 4 CPUs and 8 GiB Kubernetes, Calico and the operator take 1.2 and 1.5.
    assert cpu <= 2.8
    assert memory <= 6.5 * 2**30


def test_secrets_that_are_listed_are_those_that_are_used(
    render: Callable[[Path], list[Object]], sweeps: list[Object]
) -> None:
    used = secrets(render(ROOT / "k8s/overlays/minikube") + sweeps)
    assert used == {(space, name, key) for (space, name), keys in SECRETS.items() for key in keys}


def test_documented_secrets_are_those_that_are_used() -> None:
    for folder, space in (("base", "fraudray"), ("monitoring", "monitoring")):
        text = (ROOT / "k8s" / folder / "kustomization.yaml").read_text("utf-8")
        for (namespace, name), keys in SECRETS.items():
            if namespace == space:
                (line,) = re.findall(rf"^#   {name} +(.*)$", text, re.M)
                assert keys <= set(re.findall(r"[\w.-]+", line)), name


@pytest.mark.parametrize("cloud", ["eks", "gke", "aks"])
def test_clouds_differ_from_production_in_what_is_theirs(
    cloud: str, render: Callable[[Path], list[Object]]
) -> None:
    production = {name_of(o): o for o in render(ROOT / "k8s/overlays/production")}
    theirs = {name_of(o): o for o in render(ROOT / "k8s/overlays" / cloud)}
    assert set(production) - set(theirs) == {"PersistentVolumeClaim fraudray/mlflow-artifacts"}
    same = ("NetworkPolicy", "PodMonitor", "PrometheusRule", "ConfigMap", "Service", "Namespace")
    for name, o in production.items():
        if o["kind"] in same:
            assert theirs[name] == o
    service = theirs["RayService fraudray/fraudray"]
    assert (
        service["spec"]["serveConfigV2"]
        == (production["RayService fraudray/fraudray"]["spec"]["serveConfigV2"])
    )


def test_an_incremental_upgrade_is_taken_too(
    render: Callable[[Path], list[Object]],
    tmp_path: Path,
    crds: dict[tuple[str, str], dict[str, Any]],
    defaulted: Callable[[Any, dict[str, Any]], Any],
    sweeps: list[Object],
) -> None:
    folder = ROOT / "k8s/components/incremental-upgrade"
    (patch,) = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))["patches"]
    (change,) = yaml.safe_load(patch["patch"])
    objects = render(ROOT / "k8s/overlays/production") + copy.deepcopy(sweeps)
    (service,) = [o for o in objects if o["kind"] == "RayService"]
    service["spec"]["upgradeStrategy"] = change["value"]
    schema = crds["ray.io/v1", "RayService"]
    jsonschema.Draft202012Validator(schema).validate(defaulted(service, schema))
    assert not [p for p in problems(objects) if "upgrade" in p]
    # kustomize itself, where the component stands beside an overlay.
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "resources": [os.path.relpath(ROOT / "k8s/overlays/production", tmp_path)],
                "components": [os.path.relpath(folder, tmp_path)],
            }
        )
    )
    (made,) = [o for o in render(tmp_path) if o["kind"] == "RayService"]
    assert made["spec"]["upgradeStrategy"] == change["value"]


def test_what_the_guide_selects_is_there(render: Callable[[Path], list[Object]]) -> None:
    there = [pod.labels for pod in pods(render(ROOT / "k8s/overlays/minikube"))]
    guide = (ROOT / "docs/operations.md").read_text("utf-8")
    selectors = re.findall(r" -l ([\w./=,-]+)", guide)
    assert selectors
    for selector in selectors:
        wanted = dict(pair.split("=") for pair in selector.split(","))
        assert any(wanted.items() <= labels.items() for labels in there), selector
