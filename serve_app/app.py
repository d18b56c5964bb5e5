"""The graph as Ray Serve deployments: ingress -> FeatureEngineering -> Model -> Threshold.

Each is a deployment of its own that scales by itself; how far is said in `serve.yaml` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette

from serve_app import stages
from serve_app.contract import Answer, form_fields
from serve_app.ingress import http_app
from training.bundle import ModelBundle
from training.data import Columns
from training.errors import FraudrayError
from training.spec import DatasetSpec

CONFIG = Path(__file__).with_name("serve.yaml")
NAME = "fraudray"
"""The Serve application."""


class Arguments(BaseModel):
    """What `serve.yaml` passes: a model's name and an alias, never a version."""

    model_config = ConfigDict(extra="forbid")

    model: str
    alias: str


class NoChampion(FraudrayError):
    """There is nothing to serve yet."""


@serve.deployment
@serve.ingress()
class Ingress:
    """Answers HTTP; hands every request's payments down the graph."""

    def __init__(
        self,
        about: dict[str, Any],
        spec: dict[str, Any],
        features: DeploymentHandle,
        model: DeploymentHandle,
        threshold: DeploymentHandle,
    ) -> None:
        self.about = about
        self.spec = DatasetSpec.from_dict(spec)
        self.features = features
        self.model = model
        self.threshold = threshold

    async def score(self, columns: Columns, request_id: str) -> list[Answer]:
        """Score columns of shape (n,); a stage's result goes straight to the next stage."""
        matrix = self.features.remote(columns)
        probability = self.model.remote(matrix)
        answers: list[Answer] = await self.threshold.remote(probability, request_id)
        return answers

    def __serve_build_asgi_app__(self) -> Starlette:
        """Ray Serve asks for the application once the replica is made."""
        return http_app(self.spec, self.about, self.score)


FeatureEngineering = serve.deployment(stages.FeatureEngineering, name="FeatureEngineering")
Model = serve.deployment(stages.Model, name="Model")
Threshold = serve.deployment(stages.Threshold, name="Threshold")


def build(args: dict[str, Any]) -> Application:
    """The graph serving the version that the registry's alias names now.

    Parameters
    ----------
    args
        The fields of `Arguments`, as `serve.yaml` gives them.

    Raises
    ------
    NoChampion
        If no version bears the alias.
    """
    from training.tracking import Tracking  # seconds to import, and replicas import this module

    arguments = Arguments.model_validate(args)
    tracking = Tracking()
    version = tracking.aliased(arguments.model, arguments.alias)
    if version is None:
        raise NoChampion(
            f"{arguments.model} has no {arguments.alias} yet; make one with "
            f"`fraudray tune FILE` or `fraudray train FILE --model xgboost`"
        )
    bundle = tracking.fetch(version)
    reference = stages.Reference(version.model, version.version, version.key)
    return Ingress.bind(  # type: ignore[attr-defined]
        about(reference, bundle),
        bundle.spec.to_dict(),
        FeatureEngineering.bind(reference),
        Model.bind(reference),
        Threshold.bind(reference),
    )


def about(reference: stages.Reference, bundle: ModelBundle) -> dict[str, Any]:
    """What `/model` says: who is in service, how it decides, how it measured, what it reads."""
    card = bundle.card
    return {
        "name": reference.model,
        "version": reference.version,
        "family": card["family"],
        "smote": card["smote"],
        "policy": bundle.choice.policy,
        "threshold": bundle.choice.threshold,
        "metrics": card["metrics"],
        "fingerprint": card["fingerprint"],
        "excluded": card["excluded"],
        "inputs": form_fields(bundle.spec),
    }


def configuration(model: str, *, host: str, port: int) -> dict[str, Any]:
    """`serve.yaml` for a model and an address, as `serve deploy` takes it."""
    content: dict[str, Any] = yaml.safe_load(CONFIG.read_text("utf-8"))
    content["http_options"] |= {"host": host, "port": port}
    content["applications"][0]["args"]["model"] = model
    return content
