"""Store: the way to an MLflow store, and what its errors mean."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy
from mlflow.exceptions import MlflowException, RestException
from mlflow.tracking import MlflowClient

from training.errors import FraudrayError
from training.home import home

_CREDENTIALS = re.compile(r"//[^/@\s]*(?:/[^/@\s]*)?@")
_QUIET_AND_QUICK = {
    # MLflow reads these at every call. Its own seven retries of two minutes each would hold up
    # whoever waits; these end within seconds where nothing listens.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_AWAY = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED", "ABORTED")
_KNOCK_SECONDS = 3.0
_CLOSED = (
    OSError, MlflowException, sqlalchemy.exc.SQLAlchemyError, ModuleNotFoundError, ValueError,
)  # fmt: skip


class TrackingError(FraudrayError):
    """The MLflow store cannot be used, or lacks what was asked for."""


class StoreAway(TrackingError):
    """The MLflow store does not answer now; later it may."""


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or a SQLite file in the home folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


def without_credentials(text: str) -> str:
    """A text on one line as it may be printed: without the password of an address in it."""
    return _CREDENTIALS.sub("//***@", " ".join(text.split()))


class Store:
    """An MLflow store, checked to be reachable; `training.tracking.Tracking` is what to use."""

    def __init__(self, uri: str | None = None) -> None:
        self.uri = uri or tracking_uri()
        for name, value in _QUIET_AND_QUICK.items():
            os.environ.setdefault(name, value)
        # Whatever goes wrong is raised and told once; nothing of it belongs on the terminal twice.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.CRITICAL)
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        self._client = self._opened()

    @property
    def shown(self) -> str:
        """The store's URI as it may be printed: without its password."""
        return without_credentials(self.uri)

    @property
    def remote(self) -> bool:
        """Whether it is a tracking server, not a database that this process opens itself."""
        return self.uri.startswith(("http://", "https://"))

    def answers(self) -> bool:
        """Whether the store answers now."""
        try:
            self._knock()
            self._client.search_experiments(max_results=1)
        except _CLOSED:
            return False
        return True

    def _opened(self) -> MlflowClient:
        """Open the store, patiently where it may only be away."""
        retries = int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
        attempt = 0
        while True:
            try:
                self._knock()
                client = MlflowClient(self.uri, self.uri)
                client.search_experiments(max_results=1)
            except _CLOSED as error:
                closed = self._closed(error)
                if attempt == retries or not isinstance(closed, StoreAway):
                    raise closed from None
            else:
                return client
            time.sleep(min(2**attempt, 4))
            attempt += 1

    def _knock(self) -> None:
        """Find out within seconds whether the store answers."""
        if self.remote:
            health = f"{_CREDENTIALS.sub('//', self.uri).rstrip('/')}/health"
            # Any answer will do: whether it lets us in is for MLflow's client to find out.
            with suppress(urllib.error.HTTPError):
                urllib.request.urlopen(health, timeout=_KNOCK_SECONDS).close()  # noqa: S310
        elif "://" in self.uri and not self.uri.startswith("file:"):
            if self.uri == f"sqlite:///{home() / 'mlflow.db'}":
                home().mkdir(parents=True, exist_ok=True)
            engine = sqlalchemy.create_engine(self.uri)
            try:
                sqlalchemy.inspect(engine).get_table_names()
            finally:
                engine.dispose()

    def _closed(self, error: Exception) -> TrackingError:
        cause = str(getattr(error, "orig", None) or error)
        kind = StoreAway if self._away(error) else TrackingError
        return kind(
            f"the MLflow store {self.shown} cannot be opened "
            f"({without_credentials(cause)[:200]}); "
            f"set MLFLOW_TRACKING_URI, or unset it for a SQLite file in {home()}"
        )

    def _away(self, error: Exception) -> bool:
        """Whether the same call may succeed later."""
        if isinstance(error, RestException):
            return error.error_code in _AWAY
        if isinstance(error, MlflowException):
            # A proxy whose server is gone says that nothing is there, in words of its own.
            missing = self.remote and error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
            return missing or error.error_code in _AWAY
        if isinstance(error, sqlalchemy.exc.OperationalError):
            return not isinstance(error.orig, sqlite3.Error) or "locked" in str(error.orig)
        return isinstance(error, OSError)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except MlflowException as error:
            cause = without_credentials(str(error))[:300]
            if self._away(error):
                raise StoreAway(f"the MLflow store {self.shown} fails: {cause}") from error
            raise TrackingError(f"the MLflow store {self.shown} refuses: {cause}") from error
        except (sqlalchemy.exc.SQLAlchemyError, OSError) as error:
            raise self._closed(error) from error
