"""Experiments and the model registry: the only package that imports MLflow."""

from training.tracking.archive import SWEEPS, Archive, Run, place_of
from training.tracking.champions import CHALLENGER, Challenger, Champions, Change, Look, Mode
from training.tracking.registry import CHAMPION, Version, signature
from training.tracking.runs import Child, EndStatus, Report, Runs, RunStatus
from training.tracking.store import StoreAway, TrackingError, tracking_uri

__all__ = [
    "CHALLENGER", "CHAMPION", "SWEEPS", "Challenger", "Change", "Child", "EndStatus", "Look",
    "Mode", "Report", "Run", "RunStatus", "StoreAway", "Tracking", "TrackingError", "Version",
    "place_of", "signature", "tracking_uri",
]  # fmt: skip


class Tracking(Runs, Archive, Champions):
    """An MLflow store with its runs and its registry, checked to be reachable.

    Parameters
    ----------
    uri
        Default: `tracking_uri()`.

    Raises
    ------
    StoreAway
        If the store does not answer; after `MLFLOW_HTTP_REQUEST_MAX_RETRIES` retries (3 unless
        set) and some ten seconds, without MLflow's minutes of them.
    TrackingError
        If it cannot be opened, however often one tries.
    """
