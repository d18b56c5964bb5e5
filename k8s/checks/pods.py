"""Pods that manifests lead to, KubeRay's included, and what selects them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """The template of pods.

    Attributes
    ----------
    where
        What to call it in a problem.
    labels
        Those that it will have, KubeRay's included.
    claims
        Volumes that its StatefulSet makes for it.
    lasting
        Whether it is to run on and on.
    """

    where: str
    namespace: str
    labels: Mapping[str, str]
    spec: Object
    claims: tuple[str, ...] = ()
    lasting: bool = True

    @property
    def containers(self) -> list[Object]:
        """All of them, those that only start it included."""
        return [*self.spec.get("initContainers", []), *self.spec.get("containers", [])]

    @property
    def ports(self) -> dict[str, int]:
        """The ports that its containers name."""
        return {
            port.get("name", str(port["containerPort"])): port["containerPort"]
            for container in self.containers
            for port in container.get("ports", [])
        }


def pods(objects: list[Object]) -> Iterator[Pod]:
    """Every pod that the objects lead to."""
    for o in objects:
        where, namespace = name_of(o), o["metadata"].get("namespace", "")
        if o["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            template = o["spec"]["template"]
            claims = [c["metadata"]["name"] for c in o["spec"].get("volumeClaimTemplates", [])]
            yield Pod(
                where, namespace, template["metadata"].get("labels", {}), template["spec"],
                tuple(claims), lasting=o["kind"] != "Job",
            )  # fmt: skip
        for cluster in ray_clusters([o]):
            yield from _ray_pods(where, namespace, cluster)


def ray_clusters(objects: list[Object]) -> Iterator[Object]:
    """The specification of every Ray cluster."""
    at = {"RayService": "rayClusterConfig", "RayJob": "rayClusterSpec"}
    for o in objects:
        if o["kind"] == "RayCluster":
            yield o["spec"]
        elif o["kind"] in at:
            yield o["spec"][at[o["kind"]]]


def _ray_pods(where: str, namespace: str, cluster: Object) -> Iterator[Pod]:
    """The pods of a cluster; the head has the autoscaler beside it."""
    groups = [("head", "headgroup", cluster["headGroupSpec"])]
    groups += [("worker", g["groupName"], g) for g in cluster.get("workerGroupSpecs", [])]
    for kind, group, found in groups:
        template = found["template"]
        labels = {
            "ray.io/is-ray-node": "yes",
            "ray.io/node-type": kind,
            "ray.io/group": group,
        }
        spec = template["spec"]
        if kind == "head" and cluster.get("enableInTreeAutoscaling"):
            beside = {
                "name": "autoscaler",
                "image": spec["containers"][0]["image"] if spec.get("containers") else "",
                **cluster.get("autoscalerOptions", {}),
            }
            spec = spec | {"containers": [*spec.get("containers", []), beside]}
        given = template.get("metadata", {}).get("labels", {})
        yield Pod(f"{where} {group}", namespace, given | labels, spec)


def matches(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a selector takes these labels; an empty one takes all."""
    if selector is None:
        return False
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for rule in selector.get("matchExpressions", []):
        value, wanted = labels.get(rule["key"]), rule.get("values", [])
        holds = {
            "In": value in wanted,
            "NotIn": value not in wanted,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds[rule["operator"]]:
            return False
    return True


def name_of(o: Object) -> str:
    """What to call an object in a problem."""
    metadata = o["metadata"]
    name = metadata.get("name") or metadata.get("generateName", "?")
    return f"{o['kind']} {metadata.get('namespace', '')}/{name}"
