"""Every overlay as it would be applied, and the schemas to hold it against."""

from __future__ import annotations

import copy
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s.checks.pods import Object

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted(p.parent.name for p in ROOT.glob("k8s/overlays/*/kustomization.yaml"))


@pytest.fixture(scope="session")
def render(require: Callable[[str], str]) -> Callable[[Path], list[Object]]:
    """The objects that kustomize makes of a folder."""
    kubectl, known = require("kubectl"), {}

    def objects(folder: Path) -> list[Object]:
        if folder not in known:
            made = subprocess.run(
                [kubectl, "kustomize", folder], capture_output=True, text=True, check=False
            )
            assert made.returncode == 0, made.stderr
            known[folder] = list(yaml.load_all(made.stdout, Loader=yaml.CSafeLoader))
        return copy.deepcopy(known[folder])

    return objects


@pytest.fixture(scope="session")
def sweeps() -> list[Object]:
    """What is created by hand, beside any overlay."""
    names = ("rayjob", "raycluster")
    return [yaml.safe_load((ROOT / "kuberay" / f"{n}.yaml").read_text("utf-8")) for n in names]


@pytest.fixture(params=OVERLAYS)
def overlay(
    request: pytest.FixtureRequest,
    render: Callable[[Path], list[Object]],
    sweeps: list[Object],
) -> list[Object]:
    """All that runs where an overlay was applied and sweeps were created."""
    return render(ROOT / "k8s" / "overlays" / request.param) + copy.deepcopy(sweeps)


@pytest.fixture(scope="session")
def crds(shared: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Closed schemas of custom resources, by API version and kind."""
    found = {}
    for file in [*shared.glob("schemas/kuberay/*.yaml"),
                 *shared.glob("schemas/prometheus-operator/*.yaml")]:  # fmt: skip
        crd = yaml.load(file.read_text("utf-8"), Loader=yaml.CSafeLoader)["spec"]
        for version in crd["versions"]:
            if version["name"] != "v1":
                continue
            schema = version["schema"]["openAPIV3Schema"]
            # The API server knows these two; a CRD leaves them open.
            schema["properties"]["metadata"] = {"type": "object"}
            key = f"{crd['group']}/{version['name']}", crd["names"]["kind"]
            found[key] = _closed(schema)
    assert found, f"no CRD below {shared}"
    return found


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that takes no unknown field, as the API server prunes and `strict` refuses them."""
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    below = [*schema.get("properties", {}).values()]
    below += [
        schema[k] for k in ("items", "additionalProperties") if isinstance(schema.get(k), dict)
    ]
    for each in below:
        _closed(each)
    if "pattern" in schema:
        # Go takes a flag in the middle of an expression, Python at its beginning.
        schema["pattern"] = re.sub(r"^(.+)(\(\?i\))", r"\2\1", schema["pattern"])
    return schema


@pytest.fixture(scope="session")
def defaulted() -> Callable[[Any, dict[str, Any]], Any]:
    """Fills in a schema's defaults, as the API server does before it validates."""

    def fill(value: Any, schema: dict[str, Any]) -> Any:
        if isinstance(value, dict):
            for name, below in schema.get("properties", {}).items():
                if name not in value and "default" in below:
                    value[name] = copy.deepcopy(below["default"])
                if name in value:
                    fill(value[name], below)
        elif isinstance(value, list):
            for each in value:
                fill(each, schema.get("items", {}))
        return value

    return fill
