"""What `make manifests` writes: all that would otherwise stand in two places.

The Serve configuration comes from `serve_app/serve.yaml`, rules and dashboards from `grafana/`, the
version of the images from `training/__init__.py`, Ray's from `requirements.txt`. What is written is
committed, so that nobody needs Python to apply it, and tests/manifests says whether it is current.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from serve_app import app
from training.home import VERSION

ROOT: Final = Path(__file__).parents[1]
MODEL: Final = "fraudray-payments"
PORT: Final = 8000
PRODUCTION: Final = {
    "Ingress": (2, 6),
    "FeatureEngineering": (2, 6),
    "Model": (2, 8),
    "Threshold": (2, 6),
}
"""Replicas at the least and at the most where there are nodes for them: two, and no two of a
deployment on one node, so that losing a node costs nobody more than a moment."""

_GENERATED: Final = "# Written by `make manifests` from {source}; change it there.\n"
_VERSIONED: Final = (
    "k8s/base/kustomization.yaml",
    "k8s/overlays/minikube/first-model.yaml",
    "kuberay/rayservice.yaml",
    "kuberay/rayjob.yaml",
    "kuberay/raycluster.yaml",
    "compose.yaml",
)


class _Plain(yaml.SafeDumper):
    """YAML without anchors, and with texts of several lines as they are."""

    def ignore_aliases(self, data: Any) -> bool:
        """Every use is written out."""
        del data
        return True

    def text(self, data: str) -> yaml.ScalarNode:
        """A text, by lines where it has several."""
        style = "|" if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Plain.add_representer(str, _Plain.text)


def written(root: Path = ROOT) -> dict[str, str]:
    """Every file that is written, by its path, as it has to be.

    Parameters
    ----------
    root
        The folder of the project.
    """
    serve = "serve_app/serve.yaml"
    made = {
        "kuberay/serve-config.yaml": _document(serve, _service(serve_config())),
        "k8s/overlays/production/serve-config.yaml": _document(
            f"{serve} and k8s/manifests.py", _service(serve_config(PRODUCTION))
        ),
        "grafana/dashboards/kustomization.yaml": _document(
            "the files here", _dashboards(root / "grafana/dashboards")
        ),
        "grafana/kustomization.yaml": _document("the files here", _monitoring(root / "grafana")),
        "k8s/overlays/production/rules.yaml": _document("grafana/rules", _rules(root / "grafana")),
    }
    for name in _VERSIONED:
        made[name] = versioned((root / name).read_text("utf-8"), root)
    return made


def serve_config(replicas: dict[str, tuple[int, int]] | None = None) -> dict[str, Any]:
    """`serve.yaml` for a cluster of several pods.

    Parameters
    ----------
    replicas
        Of deployments that differ: replicas at the least and at the most.
    """
    config = app.configuration(MODEL, host="0.0.0.0", port=PORT)  # noqa: S104
    # Every pod with replicas takes callers; the Service sends them to those that are ready.
    config["proxy_location"] = "EveryNode"
    for deployment in config["applications"][0]["deployments"]:
        if replicas and deployment["name"] in replicas:
            least, most = replicas[deployment["name"]]
            # A copy: by YAML's anchors several deployments have the same one.
            scale = deployment["autoscaling_config"]
            deployment["autoscaling_config"] = scale | {
                "min_replicas": least, "max_replicas": most,
            }  # fmt: skip
            deployment["max_replicas_per_node"] = 1
    return config


def versioned(text: str, root: Path = ROOT) -> str:
    """A file with the version of our images, and of Ray, as they are now."""
    (ray,) = re.findall(r"^ray==(\S+)", (root / "requirements.txt").read_text("utf-8"), re.M)
    ours = r"(fraudray/(?:ray|ui|mlflow)(?::|, newTag: ))[^\s,}]+"
    text = re.sub(ours, rf"\g<1>{VERSION}", text)
    text = re.sub(r"(args: \{VERSION: )[^}]+", rf"\g<1>{VERSION}", text)
    return re.sub(r"(rayVersion: )\S+", rf"\g<1>{ray}", text)


def _service(config: dict[str, Any]) -> dict[str, Any]:
    """A patch of the RayService."""
    text = yaml.dump(config, Dumper=_Plain, sort_keys=False)
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "fraudray"},
        "spec": {"serveConfigV2": text},
    }


def _dashboards(folder: Path) -> dict[str, Any]:
    """The dashboards as a ConfigMap, which the Prometheus operator's Grafana finds by a label."""
    made = _kustomization(folder, {"grafana-dashboards": folder.glob("*.json")})
    return made | {"generatorOptions": {"labels": {"grafana_dashboard": "1"}}}


def _monitoring(folder: Path) -> dict[str, Any]:
    """The rest of what Prometheus, Alertmanager and Grafana read."""
    taken = {
        "grafana-datasources": folder.glob("provisioning/datasources/*.y*ml"),
        "grafana-providers": folder.glob("provisioning/dashboards/*.y*ml"),
        "prometheus-rules": folder.glob("rules/*.y*ml"),
        "alertmanager": folder.glob("alertmanager.yml"),
    }
    return _kustomization(folder, taken) | {"resources": ["dashboards"]}


def _kustomization(folder: Path, taken: Mapping[str, Iterable[Path]]) -> dict[str, Any]:
    """ConfigMaps of files, read by kustomize where they are."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "monitoring",
        "configMapGenerator": [
            {"name": name, "files": [str(f.relative_to(folder)) for f in sorted(files)]}
            for name, files in taken.items()
        ],
    }


def _rules(folder: Path) -> dict[str, Any]:
    """All rules as the Prometheus operator takes them."""
    groups = [
        group
        for file in sorted(folder.glob("rules/*.y*ml"))
        for group in yaml.safe_load(file.read_text("utf-8"))["groups"]
    ]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "fraudray"},
        "spec": {"groups": groups},
    }


def _document(source: str, content: dict[str, Any]) -> str:
    text = yaml.dump(content, Dumper=_Plain, sort_keys=False, width=100, allow_unicode=True)
    return _GENERATED.format(source=source) + text


def stale(root: Path = ROOT) -> Iterator[str]:
    """Paths of files that are not as they have to be."""
    for name, text in written(root).items():
        file = root / name
        if not file.exists() or file.read_text("utf-8") != text:
            yield name


def _write(names: Iterable[str]) -> None:
    made = written(ROOT)
    for name in names:
        (ROOT / name).write_text(made[name], "utf-8")


if __name__ == "__main__":
    _write(list(stale()))
