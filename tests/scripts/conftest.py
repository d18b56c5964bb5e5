"""A machine without Minikube, and as much of a Kubernetes API server as `kubectl` asks for.

The real kubectl talks to the server over HTTP, so its arguments, JSONPath and templates are tested
with the scripts. What controllers would do, `Cluster.react` does. The programs in `fakes` stand for
Minikube and Docker, a folder for the repository that the operator is fetched from.
"""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FAKES = Path(__file__).parent / "fakes"

CORE = {
    "Namespace": ("namespaces", False), "Secret": ("secrets", True), "Pod": ("pods", True),
    "PersistentVolumeClaim": ("persistentvolumeclaims", True), "Service": ("services", True),
    "ConfigMap": ("configmaps", True), "ServiceAccount": ("serviceaccounts", True),
}  # fmt: skip
GROUPS = {
    "apps/v1": {"Deployment": ("deployments", True), "StatefulSet": ("statefulsets", True)},
    "batch/v1": {"Job": ("jobs", True), "CronJob": ("cronjobs", True)},
    "apiextensions.k8s.io/v1": {
        "CustomResourceDefinition": ("customresourcedefinitions", False),
    },
    "ray.io/v1": {"RayService": ("rayservices", True)},
    "networking.k8s.io/v1": {"NetworkPolicy": ("networkpolicies", True)},
    "policy/v1": {"PodDisruptionBudget": ("poddisruptionbudgets", True)},
    "rbac.authorization.k8s.io/v1": {
        "Role": ("roles", True), "RoleBinding": ("rolebindings", True),
    },
}  # fmt: skip
SHORT = {"customresourcedefinitions": ["crd"], "persistentvolumeclaims": ["pvc"]}
VERBS = ["create", "delete", "get", "list", "patch", "update", "watch"]

Object = dict[str, Any]


class Refused(Exception):
    """What the API server says of an object that it does not take."""


@dataclass
class Cluster:
    """Objects by their path, and every request that changed something.

    Attributes
    ----------
    react
        Is called with the cluster and an object that was written, and may change both, or raise
        `Refused`.
    """

    react: Callable[[Cluster, Object], None]
    objects: dict[str, Object] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)

    def usual(self, item: Object) -> None:
        """What becomes of an object where all goes well."""
        _controllers(self, item)

    def refuse(self, why: str) -> None:
        """Do not take the object that is being written."""
        raise Refused(why)

    def put(self, item: Object) -> None:
        """Have an object as if somebody had made it."""
        self.objects[self.path_of(item)] = item

    def path_of(self, item: Object) -> str:
        """Where an object lies."""
        version, kind, meta = item["apiVersion"], item["kind"], item["metadata"]
        plural, namespaced = (CORE if version == "v1" else GROUPS[version])[kind]
        root = "/api/v1" if version == "v1" else f"/apis/{version}"
        space = f"/namespaces/{meta['namespace']}" if namespaced else ""
        return f"{root}{space}/{plural}/{meta['name']}"

    def of(self, kind: str) -> list[Object]:
        """All objects of a kind."""
        return [item for item in self.objects.values() if item["kind"] == kind]


def serve(cluster: Cluster) -> ThreadingHTTPServer:
    """A server on a free port of loopback, in a thread of its own."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer is one packet, which nobody waits for

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            known = _discovery(url.path)
            if known is not None:
                self._answer(200, known)
            elif url.path in cluster.objects:
                self._answer(200, cluster.objects[url.path])
            elif (listed := _listed(cluster, url.path, query)) is not None:
                if query.get("watch") in ("1", "true"):
                    self._watch(listed, initial=query.get("sendInitialEvents") == "true")
                else:
                    self._answer(200, listed)
            else:
                self._missing(url.path)

        def do_POST(self) -> None:
            self._write(201)

        def do_PATCH(self) -> None:
            self._write(200)

        def do_DELETE(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            path = urlsplit(self.path).path
            gone = cluster.objects.pop(path, None)
            if gone is None:
                self._missing(path)
                return
            cluster.writes.append(f"DELETE {path}")
            self._answer(200, gone)

        def _write(self, status: int) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            item = _decoded(body) if body.startswith(_BINARY) else yaml.safe_load(body)
            item["metadata"].setdefault("uid", "1")
            path = cluster.path_of(item)
            cluster.writes.append(f"{self.command} {path}")
            if item["kind"] == "Secret":
                given = item.pop("stringData", {}).items()
                encoded = {k: base64.b64encode(v.encode()).decode() for k, v in given}
                item["data"] = {**item.get("data", {}), **encoded}
            try:
                cluster.objects[path] = item
                cluster.react(cluster, item)
            except Refused as refused:
                del cluster.objects[path]
                self._answer(400, _status(400, "BadRequest", str(refused)))
                return
            self._answer(status, item)

        def _missing(self, path: str) -> None:
            name = path.rsplit("/", 1)[-1]
            self._answer(404, _status(404, "NotFound", f'"{name}" not found'))

        def _watch(self, listed: Object, *, initial: bool) -> None:
            """What is there already, if asked for; then nothing more happens."""
            events = [{"type": "ADDED", "object": item} for item in listed["items"]]
            marked = {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}
            end = {"apiVersion": listed["apiVersion"], "kind": listed["kind"].removesuffix("List")}
            events.append({"type": "BOOKMARK", "object": end | {"metadata": marked}})
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("connection", "close")
            self.end_headers()
            for event in events if initial else []:
                self.wfile.write(json.dumps(event).encode() + b"\n")
            self.wfile.flush()
            time.sleep(5)
            self.close_connection = True

        def _answer(self, status: int, content: Object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


_BINARY = b"k8s\0"


def _fields(message: bytes) -> dict[int, list[bytes]]:
    """The fields of a protobuf message that are texts or messages, by their numbers."""
    found: dict[int, list[bytes]] = defaultdict(list)
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        tag, size = number(), number()
        if tag & 7 == 2:
            found[tag >> 3].append(message[at : at + size])
            at += size
    return found


def _decoded(body: bytes) -> Object:
    """A namespace or a secret as `kubectl create` sends it."""
    outer = _fields(body.removeprefix(_BINARY))
    kind, item = _fields(outer[1][0]), _fields(outer[2][0])
    meta = _fields(item[1][0])
    pairs = [_fields(entry) for entry in item[2]]
    names = {"name": meta[1][0].decode()}
    if meta[3] and meta[3][0]:
        names["namespace"] = meta[3][0].decode()
    made: Object = {
        "apiVersion": kind[1][0].decode(), "kind": kind[2][0].decode(), "metadata": names,
    }  # fmt: skip
    if made["kind"] == "Secret":
        made["data"] = {p[1][0].decode(): base64.b64encode(p[2][0]).decode() for p in pairs}
    return made


def _status(code: int, reason: str, message: str) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
            "reason": reason, "message": message}  # fmt: skip


def _discovery(path: str) -> Object | None:
    """What tells kubectl which kinds there are, and that the server checks fields itself."""
    versions = {"v1": CORE, **GROUPS}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        groups = [
            {"name": v.split("/")[0], "versions": [_named(v)], "preferredVersion": _named(v)}
            for v in GROUPS
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if path == "/version":
        return {"major": "1", "minor": "35", "gitVersion": "v1.35.0"}
    if path == "/openapi/v3":
        roots = [_root(version) for version in versions]
        return {"paths": {r: {"serverRelativeURL": f"/openapi/v3/{r}"} for r in roots}}
    for version, kinds in versions.items():
        if path == f"/{_root(version)}":
            resources = [
                {"name": plural, "singularName": kind.lower(), "namespaced": namespaced,
                 "kind": kind, "verbs": VERBS, "shortNames": SHORT.get(plural, [])}
                for kind, (plural, namespaced) in kinds.items()
            ]  # fmt: skip
            return {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
        if path == f"/openapi/v3/{_root(version)}":
            return _openapi(version, kinds)
    return None


def _root(version: str) -> str:
    return "api/v1" if version == "v1" else f"apis/{version}"


def _named(version: str) -> Object:
    return {"groupVersion": version, "version": version.split("/")[1]}


def _openapi(version: str, kinds: dict[str, tuple[str, bool]]) -> Object:
    group, _, number = version.rpartition("/")
    validated = [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}]
    paths = {
        f"/{_root(version)}/{plural}": {
            "patch": {
                "parameters": validated,
                "responses": {},
                "x-kubernetes-group-version-kind": {
                    "group": group, "version": number, "kind": kind,
                },
            }
        }
        for kind, (plural, _) in kinds.items()
    }  # fmt: skip
    return {"openapi": "3.0.0", "info": {"title": "k", "version": "1"}, "paths": paths}


def _listed(cluster: Cluster, path: str, query: dict[str, str]) -> Object | None:
    """The objects of a kind, of one namespace or all, as field selectors want them."""
    for version, kinds in {"v1": CORE, **GROUPS}.items():
        for kind, (plural, _) in kinds.items():
            if path.startswith(f"/{_root(version)}/") and path.endswith(f"/{plural}"):
                namespace = (
                    path.split("/namespaces/")[1].split("/", maxsplit=1)[0]
                    if "/namespaces/" in path
                    else ""
                )
                items = [
                    item for item in cluster.of(kind)
                    if namespace in ("", item["metadata"].get("namespace"))
                    and _selected(item, query.get("fieldSelector", ""))
                ]  # fmt: skip
                meta = {"resourceVersion": "1"}
                return {
                    "kind": f"{kind}List",
                    "apiVersion": version,
                    "metadata": meta,
                    "items": items,
                }
    return None


def _selected(item: Object, selector: str) -> bool:
    for term in filter(None, selector.split(",")):
        name, same, value = term.partition("!=") if "!=" in term else term.partition("=")
        found: Any = item
        for part in name.split("."):
            found = found.get(part, {})
        if (found == value) != (same == "="):
            return False
    return True


def _controllers(cluster: Cluster, item: Object) -> None:
    """What becomes of an object where all goes well."""
    meta, kind = item["metadata"], item["kind"]
    match kind:
        case "CustomResourceDefinition":
            item["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        case "Deployment" | "StatefulSet":
            meta["generation"] = 1
            count = item["spec"].get("replicas", 1)
            names = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
            item["status"] = {"observedGeneration": 1, **dict.fromkeys(names, count)}
            image = item["spec"]["template"]["spec"]["containers"][0]["image"]
            cluster.put(_pod(meta["namespace"], meta["name"], image))
            for claim in item["spec"].get("volumeClaimTemplates", []):
                name = f"{claim['metadata']['name']}-{meta['name']}-0"
                cluster.put(
                    {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
                     "metadata": {"namespace": meta["namespace"], "name": name},
                     "status": {"phase": "Bound"}}
                )  # fmt: skip
        case "PersistentVolumeClaim":
            item["status"] = {"phase": "Bound"}
        case "Job":
            item["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        case "Service" if item["spec"].get("type") == "NodePort":
            item["spec"]["ports"][0].setdefault("nodePort", 30000 + len(cluster.objects))
        case "RayService":
            item["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
            cluster.put(_pod(meta["namespace"], "fraudray-head", "fraudray/ray:1"))
            cluster.put(
                {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"nodePort": 30080}]},
                 "metadata": {"namespace": meta["namespace"], "name": "fraudray-serve-svc"}}
            )  # fmt: skip


def _pod(namespace: str, name: str, image: str) -> Object:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name},
        "spec": {"containers": [{"name": "main", "image": image}]},
        "status": {
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "main", "image": image, "state": {"running": {}}}],
        },
    }  # fmt: skip


@dataclass
class Machine:
    """A machine with the programs that the scripts ask for, and a cluster they talk to."""

    folder: Path
    cluster: Cluster
    environment: dict[str, str]
    asked: list[str | None] = field(default_factory=list)
    answers: int = 200

    def run(
        self, script: str, *arguments: str, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        """What a script says, and its exit code."""
        return subprocess.run(
            [ROOT / "scripts" / script, *arguments], env=self.environment | settings,
            cwd=self.folder, capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip

    def write(self, name: str, content: str = "") -> None:
        (self.folder / name).write_text(content)

    @property
    def log(self) -> list[str]:
        """The programs that were called, with what."""
        return (self.folder / "log").read_text().splitlines()

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        data = self.cluster.objects[f"/api/v1/namespaces/{namespace}/secrets/{name}"]["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory, require: Callable[[str], str]) -> Path:
    """What kubectl fetches from KubeRay's repository, as far as it matters here."""
    git, root = require("git"), tmp_path_factory.mktemp("git")
    repository = root / "ray-project" / "kuberay"
    base = repository / "ray-operator" / "config" / "default"
    base.mkdir(parents=True)
    crds = [
        {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
         "metadata": {"name": f"{name}.ray.io"}}
        for name in ("rayclusters", "rayjobs", "rayservices")
    ]  # fmt: skip
    container = {"name": "operator", "image": "quay.io/kuberay/operator:nightly"}
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "kuberay-operator"},
        "spec": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": "kuberay"}},
            "template": {
                "metadata": {"labels": {"app.kubernetes.io/name": "kuberay"}},
                "spec": {"containers": [container]},
            },
        },
    }  # fmt: skip
    (base / "objects.yaml").write_text(yaml.safe_dump_all([*crds, deployment]))
    (base / "kustomization.yaml").write_text("resources: [objects.yaml]\n")
    for command in ("init -q", "add .", "commit -qm it", "tag v1.7.0"):
        author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run([git, *author, *command.split()], cwd=repository, check=True)
    (root / "ray-project" / "kuberay.git").symlink_to(repository)
    return root


@pytest.fixture
def machine(tmp_path: Path, operator: Path, require: Callable[[str], str]) -> Iterator[Machine]:
    cluster = Cluster(Cluster.usual)
    api = serve(cluster)
    config = {
        "apiVersion": "v1", "kind": "Config", "users": [], "current-context": "another",
        "clusters": [
            {"name": "ours", "cluster": {"server": f"http://127.0.0.1:{api.server_port}"}},
            {"name": "theirs", "cluster": {"server": "http://127.0.0.1:1"}},
        ],
        "contexts": [
            {"name": "fraudray", "context": {"cluster": "ours"}},
            {"name": "another", "context": {"cluster": "theirs"}},
        ],
    }  # fmt: skip
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    for fake in FAKES.iterdir():
        (programs / fake.name).symlink_to(fake)
    environment = {
        "HOME": str(tmp_path), "PATH": f"{programs}:/usr/bin:/bin", "FAKE": str(tmp_path),
        "KUBECONFIG": str(tmp_path / "config"), "REAL_KUBECTL": require("kubectl"),
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_VALUE_0": "https://github.com/",
        "GIT_CONFIG_KEY_0": f"url.file://{operator}/.insteadOf",
        "POLL": "0", "PATIENCE": "0", "TRIES": "1",
    }  # fmt: skip
    machine = Machine(tmp_path, cluster, environment)
    machine.write("config", json.dumps(config))
    machine.write("log")
    machine.write("minikube-version", "v1.38.0\n")
    machine.write("docker-size", f"4 {16 << 30}\n")
    graph = _graph(machine)
    environment["FAKE_GRAPH"] = str(graph.server_port)
    yield machine
    for server in (api, graph):
        server.shutdown()


def _graph(machine: Machine) -> ThreadingHTTPServer:
    """Answers payments as the graph does, to whoever shows the key."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            payment = json.loads(self.rfile.read(int(self.headers["content-length"])))
            machine.asked.append(self.headers["authorization"])
            right = self.path == "/v1/predict" and "accountAgeDays" in payment
            self.send_response(machine.answers if right else 422)
            self.end_headers()
            self.wfile.write(b'{"decision": 0, "probability": 0.25}')

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
