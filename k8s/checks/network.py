"""Who reaches whom: network policies against the ports and addresses that pods use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from k8s.checks.pods import Object, Pod, matches, name_of, pods

OPEN: Final = {"serve": 8000, "the page": 7860, "Prometheus": 9090, "Grafana": 3000}
"""What may be open to everybody: all of them but Prometheus ask who it is, and that one is open
in Minikube only."""
CLOSED: Final = {6379: "GCS, Redis", 8265: "the dashboard", 10001: "Ray clients", 8404: "HAProxy"}
METRICS: Final = ("metrics", "as-metrics", "dash-metrics", "haproxy", "sweep-metrics")
"""Ports that are there for Prometheus."""
_API: Final = {443, 6443, 8443}
_OPERATOR: Final = "ray-system"
_ADDRESS: Final = re.compile(r"(?:[a-z0-9+]+://)?(?:[^@/\s]+@)?([a-z][a-z0-9.-]*):(\d{2,5})(?:/|$)")


def denied(objects: list[Object]) -> Iterator[str]:
    """Namespaces with pods where what nobody has allowed is allowed."""
    for namespace in sorted({p.namespace for p in pods(objects)}):
        if not any(
            o["spec"]["podSelector"] == {}
            and set(o["spec"]["policyTypes"]) == {"Ingress", "Egress"}
            and not o["spec"].get("ingress")
            and not o["spec"].get("egress")
            for o in _policies(objects, namespace)
        ):
            yield f"namespace {namespace}: no policy that denies what is not allowed"


def opened(objects: list[Object]) -> Iterator[str]:
    """Ports that are open to the outside and should not be."""
    every = list(pods(objects))
    for o in objects:
        if o["kind"] == "NetworkPolicy":
            yield from (f"{name_of(o)}: {p}" for p in _opened(o, every))
        if o["kind"] == "Service" and o["spec"].get("type", "ClusterIP") != "ClusterIP":
            for port in o["spec"]["ports"]:
                if port["port"] not in OPEN.values():
                    yield f"{name_of(o)}: port {port['port']} is open to the outside"
        if o["kind"] == "Ingress":
            yield from (f"{name_of(o)}: {p}" for p in _led_in(o, objects))
        if o["kind"] == "RayService":
            for port in o["spec"].get("serveService", {}).get("spec", {}).get("ports", []):
                if port["port"] not in OPEN.values():
                    yield f"{name_of(o)}: port {port['port']} is open to the outside"


def _led_in(ingress: Object, objects: list[Object]) -> Iterator[str]:
    """Ports that an Ingress leads to and should not."""
    spec = ingress["spec"]
    backends = [spec["defaultBackend"]] if "defaultBackend" in spec else []
    for rule in spec.get("rules", []):
        backends += [path["backend"] for path in rule.get("http", {}).get("paths", [])]
    for backend in backends:
        service, port = backend["service"]["name"], backend["service"]["port"]
        where = f"Service {ingress['metadata'].get('namespace')}/{service}"
        found = [
            p["port"]
            for o in objects
            if name_of(o) == where
            for p in o["spec"]["ports"]
            if port in ({"name": p.get("name")}, {"number": p["port"]})
        ]
        # KubeRay makes the graph's Service, with the port called serve.
        if not found and port == {"name": "serve"} and service.endswith("-serve-svc"):
            continue
        if not found or found[0] not in OPEN.values():
            yield f"leads to {service}, {next(iter(port.values()))}, which is not to be open"


def _opened(policy: Object, every: list[Pod]) -> Iterator[str]:
    spec, namespace = policy["spec"], policy["metadata"]["namespace"]
    taken = [
        p for p in every if p.namespace == namespace and matches(spec["podSelector"], p.labels)
    ]
    here = {port for p in taken for port in p.ports.values()}
    for rule in spec.get("ingress", []):
        ports = {p["port"] for p in rule.get("ports", [])}
        yield from _let_in(rule, ports, here)
        yield from (f"no pod has port {port}" for port in sorted(ports - here) if taken)
    for rule in spec.get("egress", []):
        ports = {p["port"] for p in rule.get("ports", [])}
        if not rule.get("to") and not (ports and ports <= _API):
            yield f"lets out to everybody at {sorted(ports) or 'every port'}"
        for peer in rule.get("to", []):
            if (there := _pods_of(peer, namespace, every)) is not None:
                known = {port for p in there for port in p.ports.values()}
                yield from (
                    f"lets out at {port} to pods that have no such port"
                    for port in sorted(ports - known)
                    if there
                )


def _pods_of(peer: dict[str, Any], namespace: str, every: list[Pod]) -> list[Pod] | None:
    """Pods of ours that a rule names; None where it names others."""
    if "podSelector" not in peer:
        return None
    space = peer.get("namespaceSelector", {}).get("matchLabels", {})
    where = space.get("kubernetes.io/metadata.name", namespace)
    return [p for p in every if p.namespace == where and matches(peer["podSelector"], p.labels)]


def _let_in(rule: dict[str, Any], ports: set[int], here: set[int]) -> Iterator[str]:
    """What is wrong with whom a rule lets in; `here` are the ports of the pods that it is for."""
    if not rule.get("from"):
        if not ports:
            yield "lets everybody in at every port"
        yield from (f"port {p} is open to everybody" for p in sorted(ports - set(OPEN.values())))
    for peer in rule.get("from", []):
        space = peer.get("namespaceSelector", {}).get("matchLabels", {})
        outside = "ipBlock" in peer or (
            "namespaceSelector" in peer and space.get("kubernetes.io/metadata.name") != _OPERATOR
        )
        for port in sorted((ports or here) & set(CLOSED)) if outside else ():
            yield f"port {port} ({CLOSED[port]}) is open to the outside"


def reached(objects: list[Object]) -> Iterator[str]:
    """Ports that nobody can reach, and addresses in the environment that lead nowhere."""
    every = list(pods(objects))
    for pod in every:
        yield from _ports(objects, every, pod)
        for host, port in _addresses(objects, pod):
            yield from (f"{pod.where}: {p}" for p in _way(objects, every, pod, host, port))


def _ports(objects: list[Object], every: list[Pod], pod: Pod) -> Iterator[str]:
    """Ports of a pod that those cannot reach who should."""
    for name, port in pod.ports.items():
        callers = [*every, _OUTSIDE, _PROMETHEUS]
        if name in METRICS:
            # That of the Prometheus operator is not among the objects.
            callers = [p for p in every if _is(p, _PROMETHEUS)] or [_PROMETHEUS]
            if callers[0] is not _PROMETHEUS and not _egress(objects, callers[0], pod, port):
                yield f"{callers[0].where}: no policy lets it out to {pod.where} at {port}"
        if not any(_ingress(objects, pod, each, port) for each in callers):
            yield f"{pod.where}: nobody is let in at {name} ({port})"


def _way(objects: list[Object], every: list[Pod], pod: Pod, host: str, port: int) -> Iterator[str]:
    """What is in the way from a pod to an address of a Service."""
    name, _, namespace = host.partition(".")
    space = namespace.split(".")[0] or pod.namespace
    if name.endswith("-serve-svc"):  # KubeRay makes it of the pods that are ready
        targets = [p for p in every if p.namespace == space and p.ports.get("serve") == port]
    else:
        service = next((o for o in objects if name_of(o) == f"Service {space}/{name}"), None)
        if service is None:
            return  # no address of ours
        if port not in {p["port"] for p in service["spec"]["ports"]}:
            yield f"{host}:{port}: the Service has no such port"
            return
        selector = {"matchLabels": service["spec"]["selector"]}
        targets = [p for p in every if p.namespace == space and matches(selector, p.labels)]
    if not targets:
        yield f"{host}:{port}: no pod answers there"
    for target in targets:
        if not _egress(objects, pod, target, port):
            yield f"no policy lets it out to {host}:{port}"
        if not _ingress(objects, target, pod, port):
            yield f"no policy of {target.where} lets it in at {port}"


_OUTSIDE: Final = Pod("outside", "", {}, {})
_PROMETHEUS: Final = Pod("Prometheus", "monitoring", {"app.kubernetes.io/name": "prometheus"}, {})


def _is(pod: Pod, other: Pod) -> bool:
    return pod.namespace == other.namespace and other.labels.items() <= pod.labels.items()


def _addresses(objects: list[Object], pod: Pod) -> Iterator[tuple[str, int]]:
    """Addresses of the form host:port that a pod is given."""
    given = [str(e.get("value", "")) for c in pod.containers for e in c.get("env", [])]
    given += [str(a) for c in pod.containers for a in c.get("args", []) + c.get("command", [])]
    if pod.labels.get("ray.io/node-type") == "head":
        given += [
            o["spec"]["rayClusterConfig"]["gcsFaultToleranceOptions"]["redisAddress"]
            for o in objects
            if o["kind"] == "RayService"
            and pod.where.startswith(name_of(o))
            and o["spec"]["rayClusterConfig"]
            .get("gcsFaultToleranceOptions", {})
            .get("redisAddress")
        ]
    for text in given:
        if found := _ADDRESS.fullmatch(text.rstrip("/")) or _ADDRESS.match(text):
            yield found[1], int(found[2])


def _policies(objects: list[Object], namespace: str) -> list[Object]:
    return [
        o
        for o in objects
        if o["kind"] == "NetworkPolicy" and o["metadata"].get("namespace") == namespace
    ]


def _ingress(objects: list[Object], pod: Pod, source: Pod, port: int) -> bool:
    return _allowed(objects, pod, source, port, "ingress", "from")


def _egress(objects: list[Object], pod: Pod, target: Pod, port: int) -> bool:
    return _allowed(objects, pod, target, port, "egress", "to")


def _allowed(objects: list[Object], pod: Pod, other: Pod, port: int, way: str, who: str) -> bool:
    """Whether any policy of a pod lets it and another one speak at a port."""
    for policy in _policies(objects, pod.namespace):
        if not matches(policy["spec"]["podSelector"], pod.labels):
            continue
        for rule in policy["spec"].get(way, []):
            ports = [p["port"] for p in rule.get("ports", []) if p.get("protocol", "TCP") == "TCP"]
            if "ports" in rule and port not in ports:
                continue
            if who not in rule or any(_peer(p, pod, other) for p in rule[who]):
                return True
    return False


def _peer(peer: dict[str, Any], pod: Pod, other: Pod) -> bool:
    """Whether a policy of `pod` means the other one."""
    if "ipBlock" in peer:
        return other is _OUTSIDE
    if "namespaceSelector" in peer:
        space = {"kubernetes.io/metadata.name": other.namespace}
        if not matches(peer["namespaceSelector"], space):
            return False
    elif other.namespace != pod.namespace:
        return False
    return matches(peer.get("podSelector", {}), other.labels)


CHECKS: Final = (denied, opened, reached)
