"""Every check finds what it is there to find: a right manifest, broken in one place, must fail."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from k8s.checks import problems
from k8s.checks.pods import Object

ROOT = Path(__file__).parents[2]
Break = Callable[[dict[str, Object]], None]


@pytest.fixture(scope="session")
def right(
    render: Callable[[Path], list[Object]],
    sweeps: list[Object],
    crds: dict[tuple[str, str], dict[str, Any]],
    defaulted: Callable[[Any, dict[str, Any]], Any],
) -> dict[str, Object]:
    """The objects of Minikube and of production's monitors, by kind and name."""
    objects = render(ROOT / "k8s/overlays/minikube") + copy.deepcopy(sweeps)
    objects += [o for o in render(ROOT / "k8s/overlays/production") if o["kind"] == "PodMonitor"]
    for o in objects:
        if schema := crds.get((o["apiVersion"], o["kind"])):
            defaulted(o, schema)
    assert problems(objects) == []
    found = {}
    for o in objects:
        metadata = o["metadata"]
        name = metadata.get("name") or metadata["generateName"]
        found[f"{o['kind']} {name}"] = o
        found.setdefault(f"{o['kind']} {metadata.get('namespace')}/{name}", o)
    return found


def _set(path: str, value: Any = None) -> Break:
    """Put a value at `kind name: a.b.0.c`, or take away what is there if it is None."""
    key, _, rest = path.partition(": ")

    def break_it(objects: dict[str, Object]) -> None:
        *way, last = [int(p) if p.isdigit() else p.replace("|", ".") for p in rest.split(".")]
        place: Any = objects[key]
        for part in way:
            place = place[part]
        if value is None:
            del place[last]
        else:
            place[last] = value

    return break_it


def _serve(change: Callable[[dict[str, Any]], None]) -> Break:
    """Change the Serve configuration inside the RayService."""

    def break_it(objects: dict[str, Object]) -> None:
        spec = objects["RayService fraudray"]["spec"]
        config = yaml.safe_load(spec["serveConfigV2"])
        change(config)
        spec["serveConfigV2"] = yaml.safe_dump(config)

    return break_it


def _deployment(name: str, **what: Any) -> Break:
    def change(config: dict[str, Any]) -> None:
        (found,) = [d for d in config["applications"][0]["deployments"] if d["name"] == name]
        found["autoscaling_config"] |= what

    return _serve(change)


def _port(policy: str, port: int) -> Break:
    """Open a port to everybody by a rule without `from`."""

    def break_it(objects: dict[str, Object]) -> None:
        objects[policy]["spec"]["ingress"].append({"ports": [{"port": port}]})

    return break_it


def _ingress(service: str, port: dict[str, Any]) -> Break:
    """Lead callers from outside to a Service."""
    backend = {"service": {"name": service, "port": port}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    made = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "a", "namespace": "fraudray"},
        "spec": {"rules": [{"http": {"paths": [path]}}]},
    }
    return lambda objects: objects.update({"Ingress a": made})


def _without(kind: str) -> Break:
    def break_it(objects: dict[str, Object]) -> None:
        gone = objects[kind]
        for key in [k for k, o in objects.items() if o is gone]:
            del objects[key]

    return break_it


MLFLOW = "Deployment mlflow: spec.template.spec"
CONTAINER = f"{MLFLOW}.containers.0"
GRAPH = "RayService fraudray: spec"
CLUSTER = f"{GRAPH}.rayClusterConfig"
HEAD = f"{CLUSTER}.headGroupSpec"
WORKER = f"{CLUSTER}.workerGroupSpecs.0"
JOB = "RayJob sweep-: spec"
CASES: dict[str, tuple[Break, str]] = {
    # What the restricted standard refuses
    "root": (_set(f"{MLFLOW}.securityContext.runAsNonRoot"), "may run as root"),
    "root by number": (_set(f"{MLFLOW}.securityContext.runAsUser", 0), "may run as root"),
    "privileged": (_set(f"{CONTAINER}.securityContext.privileged", True), "may gain privileges"),
    "escalation": (
        _set(f"{HEAD}.template.spec.containers.0.securityContext.allowPrivilegeEscalation", True),
        "may gain privileges",
    ),
    "autoscaler": (_set(f"{CLUSTER}.autoscalerOptions.securityContext"), "autoscaler: may gain"),
    "capability": (
        _set(f"{CONTAINER}.securityContext.capabilities.add", ["NET_ADMIN"]),
        "keeps capabilities",
    ),
    "writable root": (
        _set(f"{CONTAINER}.securityContext.readOnlyRootFilesystem", False),
        "can be written to",
    ),
    "no seccomp": (_set(f"{MLFLOW}.securityContext.seccompProfile"), "no seccomp profile"),
    "host network": (_set(f"{MLFLOW}.hostNetwork", True), "hostNetwork"),
    "service links": (_set(f"{MLFLOW}.enableServiceLinks"), "from Services of that name"),
    "host path": (
        _set(f"{MLFLOW}.volumes.0", {"name": "tmp", "hostPath": {"path": "/"}}),
        "is a folder of the node",
    ),
    "host port": (_set(f"{CONTAINER}.ports.0.hostPort", 5000), "port 5000 of the node"),
    # What it asks for
    "no limit": (_set(f"{CONTAINER}.resources.limits.memory"), "limits no memory"),
    "no request": (
        _set(f"{WORKER}.template.spec.containers.0.resources.requests.cpu"),
        "requests no cpu",
    ),
    "more than its limit": (
        _set(f"{CONTAINER}.resources.requests.memory", "2049Mi"),
        "requests 2049Mi of memory, more than its limit 1Gi",
    ),
    "no quantity": (_set(f"{CONTAINER}.resources.limits.memory", "2Gb"), "2Gb is no quantity"),
    "endless volume": (_set(f"{MLFLOW}.volumes.0.emptyDir.sizeLimit"), "has no limit"),
    "no probe": (_set(f"{WORKER}.template.spec.containers.0.livenessProbe"), "no livenessProbe"),
    "probe of no port": (
        _set(f"{CONTAINER}.readinessProbe.httpGet.port", "web"),
        "asks at web, which is no port",
    ),
    # Images
    "latest": (_set(f"{CONTAINER}.image", "fraudray/mlflow:latest"), "no tag that stays"),
    "no tag": (_set(f"{CONTAINER}.image", "fraudray/mlflow"), "no tag that stays"),
    "other version": (
        _set(
            f"{JOB}.rayClusterSpec.headGroupSpec.template.spec.containers.0.image",
            "fraudray/ray:0.0.9",
        ),
        "is not of version",
    ),
    # What is referred to
    "no volume": (_set(f"{MLFLOW}.volumes.0.name", "temporary"), "no volume tmp"),
    "no volume of Ray": (_set(f"{WORKER}.template.spec.volumes.0"), "no volume"),
    "unused volume": (_set(f"{CONTAINER}.volumeMounts.1"), "is mounted nowhere"),
    "no config map": (
        _set("StatefulSet redis: spec.template.spec.volumes.0.configMap.name", "other"),
        "no ConfigMap other",
    ),
    "no claim": (_without("PersistentVolumeClaim sweeps"), "no PersistentVolumeClaim sweeps"),
    "no account": (_without("ServiceAccount mlflow"), "no ServiceAccount mlflow"),
    "needless token": (
        _set("Deployment ui: spec.template.spec.automountServiceAccountToken"),
        "gets a token of the API server",
    ),
    "unknown secret": (
        _set(
            "Deployment ui: spec.template.spec.containers.0.env.1.valueFrom.secretKeyRef.key",
            "name",
        ),
        "nobody is told to make it",
    ),
    "secret in the clear": (
        lambda o: o.update(
            {
                "Secret a": {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": "a", "namespace": "b"},
                }
            }
        ),
        "a secret is never committed",
    ),
    "bad name": (_set("Service mlflow: metadata.name", "ML_flow"), "no name that Kubernetes takes"),
    # Selectors
    "service of nobody": (
        _set("Service mlflow: spec.selector", {"app.kubernetes.io/name": "mlflaw"}),
        "no pod has port",
    ),
    "service port": (_set("Service mlflow: spec.ports.0.targetPort", "web"), "no pod has port web"),
    "deployment": (
        _set("Deployment ui: spec.selector.matchLabels", {"app.kubernetes.io/name": "page"}),
        "not for its own pods",
    ),
    "budget of nobody": (
        _set("PodDisruptionBudget graph: spec.selector.matchLabels", {"a": "b"}),
        "selects no pod",
    ),
    "budget KubeRay cannot keep": (
        lambda o: (
            o["PodDisruptionBudget graph"].update(
                spec=o["PodDisruptionBudget graph"]["spec"] | {"maxUnavailable": 1}
            )
            or o["PodDisruptionBudget graph"]["spec"].pop("minAvailable")
        ),
        "need minAvailable",
    ),
    "monitor": (
        _set("PodMonitor ray: spec.podMetricsEndpoints.0.port", "metric"),
        "no pod has port",
    ),
    # KubeRay
    "upgrade": (
        _set(f"{GRAPH}.upgradeStrategy.type", "Newcluster"),
        "upgradeStrategy 'Newcluster'",
    ),
    "incremental without autoscaler": (
        lambda o: (
            o["RayService fraudray"]["spec"].update(
                upgradeStrategy={"type": "NewClusterWithIncrementalUpgrade"}
            ),
            o["RayService fraudray"]["spec"]["rayClusterConfig"].pop("enableInTreeAutoscaling"),
        )[0],
        "needs the autoscaler",
    ),
    "replicas": (_set(f"{WORKER}.minReplicas", 9), "is more than maxReplicas"),
    "fixed replicas": (
        _set("RayCluster sweeps: spec.workerGroupSpecs.0.replicas", 3),
        "is not from 2 to 2",
    ),
    "no containers": (_set(f"{WORKER}.template.spec.containers", []), "has no container"),
    "no redis": (_set(f"{CLUSTER}.gcsFaultToleranceOptions.redisAddress"), "without redisAddress"),
    "same name": (
        lambda o: o["RayCluster sweeps"]["spec"]["workerGroupSpecs"].append(
            o["RayCluster sweeps"]["spec"]["workerGroupSpecs"][0]
        ),
        "2 groups are called trials",
    ),
    "no second node": (
        _serve(
            lambda c: c["applications"][0]["deployments"][2].update(
                max_replicas_per_node=1, autoscaling_config={"min_replicas": 1, "max_replicas": 9}
            )
        ),
        "Model: 9 replicas, maxReplicas of the groups have",
    ),
    "no token": (_set(f"{CLUSTER}.authOptions.mode", "disabled"), "asks nobody for a token"),
    "head with replicas": (_set(f"{HEAD}.rayStartParams.num-cpus", "1"), "the head takes replicas"),
    "head outside": (_set(f"{HEAD}.serviceType", "NodePort"), "the head is open"),
    "head outside by its Service": (
        _set(f"{HEAD}.headService", {"spec": {"type": "LoadBalancer"}}),
        "the head is open",
    ),
    "dashboard by an Ingress": (
        _ingress("fraudray-head-svc", {"number": 8265}),
        "leads to fraudray-head-svc, 8265",
    ),
    "MLflow by an Ingress": (_ingress("mlflow", {"name": "http"}), "leads to mlflow, http"),
    "autoscaler version": (_set(f"{CLUSTER}.autoscalerOptions.version", "v1"), "is not v2"),
    "restart": (_set(f"{WORKER}.template.spec.restartPolicy", "Always"), "no restartPolicy but"),
    "submission": (_set(f"{JOB}.submissionMode", "SidecarMode"), "submissionMode 'SidecarMode'"),
    "job that stays": (_set(f"{JOB}.ttlSecondsAfterFinished", 0), "its cluster stays"),
    # Ray Serve
    "no YAML": (_set(f"{GRAPH}.serveConfigV2", "a: [b"), "serveConfigV2"),
    "no configuration": (_set(f"{GRAPH}.serveConfigV2", "application: []"), "serveConfigV2"),
    "import path": (
        _serve(lambda c: c["applications"][0].update(import_path="serve_app.app:built")),
        "serve_app.app has no built",
    ),
    "module": (
        _serve(lambda c: c["applications"][0].update(import_path="serve.app:build")),
        "import_path",
    ),
    "serve replicas": (_deployment("Model", min_replicas=3), "serveConfigV2"),
    "serve port": (
        _serve(lambda c: c["http_options"].update(port=8001)),
        "answers at 8001",
    ),
    "loopback": (_serve(lambda c: c["http_options"].update(host="127.0.0.1")), "loopback only"),
    "no keys": (
        _serve(lambda c: c["applications"][0]["args"].update(keys=False)),
        "nobody for a key",
    ),
    "no room": (_deployment("Model", max_replicas=20), "CPUs, maxReplicas of the groups have 2"),
    "no room to begin": (
        _deployment("Model", min_replicas=10, max_replicas=10),
        "minReplicas of the groups have 2",
    ),
    # Who reaches whom
    "open by default": (_without("NetworkPolicy fraudray/nothing-else"), "no policy that denies"),
    "dashboard": (_port("NetworkPolicy graph", 8265), "port 8265 is open to everybody"),
    "clients": (_port("NetworkPolicy graph", 10001), "port 10001 is open to everybody"),
    "statistics page": (_port("NetworkPolicy graph", 8404), "port 8404 is open to everybody"),
    "GCS": (_port("NetworkPolicy graph", 6379), "port 6379 is open to everybody"),
    "all ports": (
        lambda o: o["NetworkPolicy graph"]["spec"]["ingress"].append({}),
        "lets everybody in at every port",
    ),
    "dashboard to a network": (
        lambda o: o["NetworkPolicy graph"]["spec"]["ingress"].append(
            {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 8265}]}
        ),
        "port 8265 (the dashboard) is open to the outside",
    ),
    "everything to a namespace": (
        lambda o: o["NetworkPolicy graph"]["spec"]["ingress"].append(
            {"from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]}
        ),
        "port 6379 (GCS, Redis) is open to the outside",
    ),
    "out to everybody": (
        lambda o: o["NetworkPolicy graph"]["spec"]["egress"].append({"ports": [{"port": 25}]}),
        "lets out to everybody at [25]",
    ),
    "unused port": (
        lambda o: o["NetworkPolicy mlflow"]["spec"]["ingress"][0]["ports"].append({"port": 5001}),
        "no pod has port 5001",
    ),
    "unused port of another": (
        lambda o: o["NetworkPolicy mlflow"]["spec"]["egress"][0]["ports"].append({"port": 5433}),
        "lets out at 5433 to pods that have no such port",
    ),
    "node port": (
        _set("Service mlflow: spec.type", "NodePort"),
        "port 5000 is open to the outside",
    ),
    "balanced dashboard": (
        _set(f"{GRAPH}.serveService.spec.ports.0.port", 8265),
        "port 8265 is open to the outside",
    ),
    "metrics for nobody": (
        lambda o: o["NetworkPolicy graph"]["spec"]["ingress"].pop(),
        "let in at haproxy (9101)",
    ),
    "metrics out of reach": (
        lambda o: o["NetworkPolicy monitoring/prometheus"]["spec"]["egress"].pop(1),
        "lets it out to RayJob",
    ),
    "not let in": (
        _set(
            "NetworkPolicy mlflow: spec.ingress.0.from.0.podSelector.matchExpressions.0.values",
            ["graph", "sweep"],
        ),
        "no policy of Deployment fraudray/mlflow lets it in at 5000",
    ),
    "not let out": (
        lambda o: o["NetworkPolicy mlflow"]["spec"].update(egress=[]),
        "no policy lets it out to postgres:5432",
    ),
    "redis not reached": (
        _set("NetworkPolicy redis: spec.ingress.0.from.0.podSelector.matchLabels", {"a": "b"}),
        "lets it in at 6379",
    ),
    "wrong port of a service": (
        _set("Deployment ui: spec.template.spec.containers.0.env.0.value", "http://mlflow:5001"),
        "the Service has no such port",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_broken_is_found(case: str, right: dict[str, Object]) -> None:
    break_it, told = CASES[case]
    objects = copy.deepcopy(right)  # both names of an object lead to one copy of it
    break_it(objects)
    found = problems(list({id(o): o for o in objects.values()}.values()))
    assert any(told in problem for problem in found), found or "nothing was found"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{MLFLOW}.container", []),
        ("Service mlflow: spec.port", 5000),
        ("Deployment ui: spec.replicas", "one"),
        ("NetworkPolicy mlflow: spec.ingres", []),
    ],
)
def test_kubernetes_takes_no_field_that_it_does_not_know(
    path: str, value: Any, right: dict[str, Object]
) -> None:
    objects = copy.deepcopy(right)
    _set(path, value)(objects)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(objects[path.partition(": ")[0]], "1.34", strict=True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{GRAPH}.serveConfig", ""),
        (f"{CLUSTER}.enableInTreeAutoscaler", True),
        (f"{WORKER}.maxReplica", 2),
        (f"{WORKER}.template.spec.containers.0.livenesProbe", {}),
        (f"{JOB}.ttlSeconds", 1),
        (f"{CLUSTER}.authOptions.mode", "password"),
        ("PodMonitor ray: spec.podMetricsEndpoint", []),
    ],
)
def test_a_custom_resource_has_no_field_that_its_schema_does_not_know(
    path: str,
    value: Any,
    right: dict[str, Object],
    crds: dict[tuple[str, str], dict[str, Any]],
) -> None:
    objects = copy.deepcopy(right)
    _set(path, value)(objects)
    broken = objects[path.partition(": ")[0]]
    validator = jsonschema.Draft202012Validator(crds[broken["apiVersion"], broken["kind"]])
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(broken)


def test_an_unknown_kind_is_no_valid_one() -> None:
    unknown = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}}
    with pytest.raises(kubernetes_validate.utils.SchemaNotFoundError):
        kubernetes_validate.validate(unknown, "1.34", strict=True)
