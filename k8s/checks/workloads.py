"""Pods by themselves: what they may do, what they ask for, what they refer to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from k8s.checks.pods import Object, Pod, matches, name_of, pods
from training.home import VERSION

SECRETS: Final = {
    ("fraudray", "ray-token"): {"auth_token"},
    ("fraudray", "graph-keys"): {"keys.json"},
    ("fraudray", "postgres"): {"password", "mlflow-password", "decisions-password"},
    ("fraudray", "redis"): {"password"},
    ("fraudray", "ui"): {"user", "password", "graph-key"},
    ("monitoring", "grafana"): {"admin-user", "admin-password"},
}
"""Secrets that somebody has to make, with their keys; the scripts make them for Minikube."""
OURS: Final = ("fraudray/ray", "fraudray/ui", "fraudray/mlflow")
_QUANTITY: Final = re.compile(r"(\d+(?:\.\d+)?)(m|k|Ki|M|Mi|G|Gi|T|Ti|)")
_UNITS: Final = {
    "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip
_TAGGED: Final = re.compile(r"(?P<name>.+?):(?P<tag>[\w][\w.-]*)(@sha256:[0-9a-f]{64})?")
_REFERRED: Final = {
    "configMap": "ConfigMap",
    "configMapRef": "ConfigMap",
    "configMapKeyRef": "ConfigMap",
    "persistentVolumeClaim": "PersistentVolumeClaim",
}
_BY_CLUSTER: Final = {"kube-root-ca.crt"}  # Kubernetes puts it into every namespace
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?-?")


def restricted(objects: list[Object]) -> Iterator[str]:
    """Pods that the restricted Pod Security standard refuses, or whose root may be written to."""
    for pod in pods(objects):
        spec = pod.spec
        for shared in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(shared):
                yield f"{pod.where}: {shared}"
        of_pod = spec.get("securityContext", {})
        if spec.get("enableServiceLinks") is not False:
            yield f"{pod.where}: takes MLFLOW_PORT and the like from Services of that name"
        for volume in spec.get("volumes", []):
            if "hostPath" in volume:
                yield f"{pod.where}: volume {volume['name']} is a folder of the node"
        for container in pod.containers:
            where = f"{pod.where}: {container['name']}"
            own = container.get("securityContext", {})
            both = of_pod | own
            if both.get("runAsNonRoot") is not True or both.get("runAsUser", 0) == 0:
                yield f"{where}: may run as root"
            if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
                yield f"{where}: no seccomp profile"
            if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
                yield f"{where}: may gain privileges"
            capabilities = own.get("capabilities", {})
            if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
                yield f"{where}: keeps capabilities"
            if own.get("readOnlyRootFilesystem") is not True:
                yield f"{where}: its root can be written to"
            yield from (
                f"{where}: port {port['hostPort']} of the node"
                for port in container.get("ports", [])
                if "hostPort" in port
            )


def bounded(objects: list[Object]) -> Iterator[str]:
    """Containers that do not say how much they need and may take, volumes that may fill a node."""
    for pod in pods(objects):
        for container in pod.containers:
            for kind in ("requests", "limits"):
                for what in ("cpu", "memory"):
                    if what not in container.get("resources", {}).get(kind, {}):
                        yield f"{pod.where}: {container['name']}: {kind} no {what}"
            yield from (
                f"{pod.where}: {container['name']}: {p}"
                for p in _quantities(container.get("resources", {}))
            )
        for volume in pod.spec.get("volumes", []):
            if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
                yield f"{pod.where}: volume {volume['name']} has no limit"


def _quantities(resources: dict[str, dict[str, Any]]) -> Iterator[str]:
    """What is no quantity, or asked for beyond its limit; no schema compares them."""
    for what in resources.get("requests", {}).keys() & resources.get("limits", {}).keys():
        wanted, most = (str(resources[kind][what]) for kind in ("requests", "limits"))
        odd = [text for text in (wanted, most) if not _QUANTITY.fullmatch(text)]
        yield from (f"{what} {text} is no quantity" for text in odd)
        if not odd and quantity(wanted) > quantity(most):
            yield f"requests {wanted} of {what}, more than its limit {most}"


def quantity(text: str) -> float:
    """What a quantity of Kubernetes stands for: cores, or bytes.

    >>> quantity("250m"), quantity("2Gi")
    (0.25, 2147483648.0)
    """
    number, unit = re.fullmatch(_QUANTITY, text).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]


def probed(objects: list[Object]) -> Iterator[str]:
    """Containers that run on without anybody asking whether they work."""
    for pod in pods(objects):
        for container in pod.spec.get("containers", []):
            if not pod.lasting or container["name"] == "autoscaler":  # KubeRay's own
                continue
            for probe in ("readinessProbe", "livenessProbe"):
                if probe not in container:
                    yield f"{pod.where}: {container['name']} has no {probe}"
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                if isinstance(port, str) and port not in pod.ports:
                    yield f"{pod.where}: {probe} asks at {port}, which is no port"


def tagged(objects: list[Object]) -> Iterator[str]:
    """Images that may be another one tomorrow, or ours of another version."""
    for pod in pods(objects):
        for container in pod.containers:
            image = container.get("image", "")
            found = _TAGGED.fullmatch(image)
            if found is None or found["tag"] == "latest":
                yield f"{pod.where}: image {image!r} has no tag that stays"
            elif found["name"].endswith(OURS) and found["tag"] != VERSION:
                yield f"{pod.where}: image {image} is not of version {VERSION}"


def referred(objects: list[Object]) -> Iterator[str]:
    """Volumes, ConfigMaps, claims, accounts and secrets that are not there, or for nobody."""
    there = {
        (o["kind"], o["metadata"].get("namespace"), o["metadata"].get("name")) for o in objects
    }
    for o in objects:
        if o["kind"] == "Secret":
            yield f"{name_of(o)}: a secret is never committed"
        if not _NAME.fullmatch(o["metadata"].get("name") or o["metadata"].get("generateName", "")):
            yield f"{name_of(o)}: no name that Kubernetes takes"
    for pod in pods(objects):
        volumes = {v["name"] for v in pod.spec.get("volumes", [])} | set(pod.claims)
        mounted = {m["name"] for c in pod.containers for m in c.get("volumeMounts", [])}
        yield from (f"{pod.where}: no volume {name}" for name in sorted(mounted - volumes))
        yield from (f"{pod.where}: {name} is mounted nowhere" for name in sorted(volumes - mounted))
        account = pod.spec.get("serviceAccountName")
        if account and ("ServiceAccount", pod.namespace, account) not in there:
            yield f"{pod.where}: no ServiceAccount {account}"
        if account is None and pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.where}: gets a token of the API server that it does not need"
        for key, found in _walk(pod.spec):
            if (kind := _REFERRED.get(key)) is None:
                continue
            name = found.get("name") or found.get("claimName")
            if name not in _BY_CLUSTER and (kind, pod.namespace, name) not in there:
                yield f"{pod.where}: no {kind} {name}"
    for namespace, name, secret_key in secrets(objects):
        if secret_key not in SECRETS.get((namespace, name), {}):
            yield f"secret {namespace}/{name} with {secret_key}: nobody is told to make it"


def secrets(objects: list[Object]) -> set[tuple[str, str, str]]:
    """Namespace, name and key of every secret that is referred to."""
    found = set()
    for o in objects:
        namespace = o["metadata"].get("namespace", "")
        for key, value in _walk(o.get("spec", {})):
            if key in ("secretKeyRef", "authOptions"):
                name = str(value.get("name") or value.get("secretName"))
                found.add((namespace, name, str(value.get("key", "auth_token"))))
            elif key == "secret" and "secretName" in value:
                whole = SECRETS.get((namespace, value["secretName"]), {"?"})
                found |= {(namespace, value["secretName"], each) for each in whole}
    return found


def selected(objects: list[Object]) -> Iterator[str]:
    """Selectors that select nothing, and ports of Services that no pod has."""
    every = list(pods(objects))
    for o in objects:
        spec, namespace = o.get("spec", {}), o["metadata"].get("namespace", "")
        if o["kind"] == "Service" and "selector" in spec:
            taken = _taken(every, namespace, {"matchLabels": spec["selector"]})
            for port in spec["ports"]:
                target = port.get("targetPort", port["port"])
                if not any(target in (*p.ports, *p.ports.values()) for p in taken):
                    yield f"{name_of(o)}: no pod has port {target}"
        elif o["kind"] in ("Deployment", "StatefulSet"):
            if not matches(spec["selector"], spec["template"]["metadata"].get("labels", {})):
                yield f"{name_of(o)}: its selector is not for its own pods"
        elif o["kind"] == "PodDisruptionBudget":
            if not (taken := _taken(every, namespace, spec["selector"])):
                yield f"{name_of(o)}: selects no pod"
            if any("ray.io/group" in p.labels for p in taken) and "minAvailable" not in spec:
                yield f"{name_of(o)}: pods of KubeRay need minAvailable, a number"
        elif o["kind"] == "PodMonitor":
            taken = _taken(every, namespace, spec["selector"])
            for endpoint in spec["podMetricsEndpoints"]:
                # Sweeps are no part of an overlay: what they alone have is looked for with them.
                if taken and not any(endpoint["port"] in p.ports for p in taken):
                    yield f"{name_of(o)}: no pod has port {endpoint['port']}"


def _taken(every: list[Pod], namespace: str, selector: Object) -> list[Pod]:
    return [p for p in every if p.namespace == namespace and matches(selector, p.labels)]


def _walk(found: Any) -> Iterator[tuple[str, Object]]:
    """Every mapping below, with the key it stands under."""
    if isinstance(found, list):
        for each in found:
            yield from _walk(each)
    elif isinstance(found, dict):
        for key, value in found.items():
            if isinstance(value, dict):
                yield key, value
            yield from _walk(value)


CHECKS: Final = (restricted, bounded, probed, tagged, referred, selected)
