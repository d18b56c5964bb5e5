"""What KubeRay's operator and Ray Serve would refuse, or not say and do badly."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import yaml
from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

from k8s.checks.pods import Object, name_of, ray_clusters
from serve_app import writer

_UPGRADES: Final = ("None", "NewCluster", "NewClusterWithIncrementalUpgrade")
_SUBMISSIONS: Final = ("K8sJobMode", "HTTPMode")  # a sidecar comes without a security context


def clusters(objects: list[Object]) -> Iterator[str]:
    """Ray clusters that the operator refuses, or that are open or not safe from a lost head."""
    for o in objects:
        for cluster in ray_clusters([o]):
            yield from (f"{name_of(o)}: {problem}" for problem in _cluster(cluster))


def _cluster(cluster: Object) -> Iterator[str]:
    if cluster.get("authOptions", {}).get("mode") != "token":
        yield "asks nobody for a token"
    if "rayVersion" not in cluster:
        yield "rayVersion is missing, which authOptions need"
    lasting = cluster.get("gcsFaultToleranceOptions")
    if lasting is not None and not lasting.get("redisAddress"):
        yield "gcsFaultToleranceOptions without redisAddress"
    head = cluster["headGroupSpec"]
    if head.get("rayStartParams", {}).get("num-cpus") != "0":
        yield "the head takes replicas or trials: rayStartParams num-cpus is not 0"
    kinds = {head.get("serviceType"), head.get("headService", {}).get("spec", {}).get("type")}
    if not kinds <= {None, "ClusterIP"} or head.get("enableIngress"):
        yield "the head is open to the outside"
    if not head["template"]["spec"].get("containers"):
        yield "the head has no container"
    yield from _groups(cluster)


def _groups(cluster: Object) -> Iterator[str]:
    groups = cluster.get("workerGroupSpecs", [])
    scaled = cluster.get("enableInTreeAutoscaling")  # a group begins at minReplicas then
    if scaled and cluster.get("autoscalerOptions", {}).get("version") != "v2":
        yield "autoscalerOptions: version is not v2"
    for name, count in Counter(g["groupName"] for g in groups).items():
        if count > 1:
            yield f"{count} groups are called {name}"
    for group in groups:
        name, least, most = group["groupName"], group["minReplicas"], group["maxReplicas"]
        if not group["template"]["spec"].get("containers"):
            yield f"group {name} has no container"
        if least > most:
            yield f"group {name}: minReplicas {least} is more than maxReplicas {most}"
        if not scaled and not least <= group.get("replicas", least) <= most:
            yield f"group {name}: replicas {group['replicas']} is not from {least} to {most}"
    for each in (cluster["headGroupSpec"], *groups):
        if scaled and each["template"]["spec"].get("restartPolicy", "Never") != "Never":
            yield "autoscaler v2 takes no restartPolicy but Never"


def upgrades(objects: list[Object]) -> Iterator[str]:
    """RayServices whose upgrade strategy the operator refuses."""
    for o in objects:
        if o["kind"] != "RayService":
            continue
        strategy = o["spec"].get("upgradeStrategy", {})
        kind = strategy.get("type")
        if kind not in _UPGRADES:
            yield f"{name_of(o)}: upgradeStrategy {kind!r}, expected one of {', '.join(_UPGRADES)}"
        if kind == "NewClusterWithIncrementalUpgrade":
            if not o["spec"]["rayClusterConfig"].get("enableInTreeAutoscaling"):
                yield f"{name_of(o)}: an incremental upgrade needs the autoscaler"
            if "clusterUpgradeOptions" not in strategy:
                yield f"{name_of(o)}: an incremental upgrade needs clusterUpgradeOptions"


def jobs(objects: list[Object]) -> Iterator[str]:
    """RayJobs that the operator refuses, or that stay for ever."""
    for o in objects:
        if o["kind"] != "RayJob":
            continue
        spec, where = o["spec"], name_of(o)
        if spec.get("submissionMode") not in _SUBMISSIONS:
            yield f"{where}: submissionMode {spec.get('submissionMode')!r}, expected one of " + (
                ", ".join(_SUBMISSIONS)
            )
        if not spec.get("shutdownAfterJobFinishes") or not spec.get("ttlSecondsAfterFinished"):
            yield f"{where}: its cluster stays when it has ended"
        if not spec.get("entrypoint"):
            yield f"{where}: nothing to run"


def serves(objects: list[Object]) -> Iterator[str]:
    """Serve configurations that Ray refuses, or that find no room or no port."""
    for o in objects:
        if o["kind"] == "RayService":
            yield from (f"{name_of(o)}: serveConfigV2: {p}" for p in _serve(o["spec"]))


def _serve(spec: Object) -> Iterator[str]:
    try:
        config = ServeDeploySchema.model_validate(yaml.safe_load(spec.get("serveConfigV2", "")))
    except (yaml.YAMLError, ValidationError) as error:
        yield " ".join(str(error).split())[:200]
        return
    cluster = spec["rayClusterConfig"]
    groups = cluster.get("workerGroupSpecs", [])
    for group in groups:
        for container in group["template"]["spec"].get("containers", [])[:1]:
            ports = {p.get("name"): p["containerPort"] for p in container.get("ports", [])}
            if ports.get("serve") != config.http_options.port:
                yield f"answers at {config.http_options.port}, group {group['groupName']} does not"
    if config.http_options.host in ("127.0.0.1", "localhost"):
        yield "answers on loopback only"
    least = most = writer.CPUS
    for application in config.applications:
        yield from _importable(application.import_path)
        if application.args.get("keys") is not True:
            yield f"application {application.name} asks nobody for a key"
        for deployment in application.model_dump(exclude_unset=True)["deployments"]:
            cpus = deployment["ray_actor_options"]["num_cpus"]
            low, high = _replicas(deployment)
            least, most = least + low * cpus, most + high * cpus
            yield from (f"{deployment['name']}: {p}" for p in _placed(deployment, groups))
    for wanted, bound in ((least, "minReplicas"), (most, "maxReplicas")):
        there = sum(g[bound] * _cpus(g) for g in groups)
        if wanted > there:
            yield f"needs {wanted:g} CPUs, {bound} of the groups have {there:g}"


def _replicas(deployment: Object) -> tuple[int, int]:
    """How many at the least and at the most."""
    scale = deployment.get("autoscaling_config")
    if scale is None:
        return deployment["num_replicas"], deployment["num_replicas"]
    return scale["min_replicas"], scale["max_replicas"]


def _placed(deployment: Object, groups: list[Object]) -> Iterator[str]:
    """Numbers of replicas that make no sense, or find no pods to be apart on."""
    low, high = _replicas(deployment)
    if low > high:
        yield f"min_replicas {low} is more than max_replicas {high}"
    if apart := deployment.get("max_replicas_per_node"):
        for wanted, bound in ((low, "minReplicas"), (high, "maxReplicas")):
            places = apart * sum(g[bound] for g in groups)
            if wanted > places:
                yield f"{wanted} replicas, {bound} of the groups have {places} places"


def _importable(path: str) -> Iterator[str]:
    module, _, name = path.partition(":")
    try:
        if not hasattr(importlib.import_module(module), name):
            yield f"import_path {path}: {module} has no {name}"
    except ImportError as error:
        yield f"import_path {path}: {error}"


def _cpus(group: dict[str, Any]) -> float:
    """CPUs that Ray counts on a pod of the group: those of its limit, as KubeRay tells it."""
    limits = [c["resources"]["limits"]["cpu"] for c in group["template"]["spec"]["containers"][:1]]
    given = group.get("rayStartParams", {}).get("num-cpus", limits[0] if limits else 0)
    return float(given)


CHECKS: Final = (clusters, upgrades, jobs, serves)
