"""Desk: what every page asks of the graph and of MLflow, and what a person is told in trouble."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from gradio_ui.metrics import UPSTREAM
from serve_app.client import BadRequest, Client, ServiceError, Unauthorised

if TYPE_CHECKING:  # MLflow takes seconds to import: it is, when a page first needs it
    from training.tracking import Tracking, Version

ABOUT_SECONDS = 2.0
"""How long an answer of /v1/model is taken as news."""
BUNDLES = 3
"""Opened models that are kept."""

T = TypeVar("T")


class Trouble(Exception):
    """What a person cannot have now, in plain words.

    Attributes
    ----------
    title
        What is wrong, as a heading.
    what_to_do
        Further sentences: why, and what mends it.
    """

    def __init__(self, title: str, what_to_do: str) -> None:
        super().__init__(f"{title}. {what_to_do}")
        self.title = title
        self.what_to_do = what_to_do


class Desk:
    """Asks the graph over HTTP, and MLflow through `training.tracking`.

    Everything raises `Trouble` where it cannot answer, and `BadRequest` where what was sent breaks
    the contract. Threads may share one.

    Parameters
    ----------
    client
        Of the graph; it need not be up.
    tracking_uri
        Of the MLflow store; default: the one that every command uses.
    """

    def __init__(self, client: Client, tracking_uri: str | None = None) -> None:
        self.client = client
        self.tracking_uri = tracking_uri
        self._about: tuple[float, dict[str, Any]] | None = None
        self._tracking: Tracking | None = None
        self._bundles: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._opening, self._fetching = threading.Lock(), threading.Lock()

    @property
    def url(self) -> str:
        """Where the graph listens."""
        return self.client.url

    def about(self) -> dict[str, Any]:
        """The model in service: /v1/model, at most two seconds old."""
        known = self._about
        if known is None or time.monotonic() - known[0] > ABOUT_SECONDS:
            known = (time.monotonic(), self.ask(self.client.model))
            self._about = known
        return known[1]

    def forget(self) -> None:
        """Ask anew next time: something has just been changed."""
        self._about = None

    def stats(self) -> dict[str, Any]:
        """The last minutes of the graph: /v1/stats."""
        return self.ask(self.client.stats)

    def ask(self, question: Callable[[], T]) -> T:
        """Ask the graph something, with trouble in plain words."""
        try:
            with UPSTREAM.labels("graph").time():
                return question()
        except Unauthorised as error:
            raise _unauthorised(error) from error
        except BadRequest:
            raise
        except ServiceError as error:
            raise self._silent(error) from error
        except (LookupError, TypeError) as error:
            raise self.stranger() from error

    def order(self, key: str | None, act: Callable[[Client], T]) -> T:
        """Have the graph carry out an order with the operator's key that was typed in.

        What the graph refuses to do is told as that: nothing was changed then.
        The page's own key is never used for it: who may open the page may not give orders by that.
        """
        key = (key or "").strip()
        if not key and os.environ.get("FRAUDRAY_KEY"):
            raise Trouble("An operator's key is needed", _OPERATOR)

        def carried_out() -> T:
            with Client(self.url, key=key, timeout=60, retries=0) as operator:
                try:
                    return act(operator)
                except ServiceError as error:
                    if error.status not in (404, 409):
                        raise
                    raise Trouble("Nothing was changed", _sentence(str(error))) from error

        try:
            return self.ask(carried_out)
        finally:
            self.forget()

    def tracking(self) -> Tracking:
        """The MLflow store, opened when it is first needed and anew after it was away."""
        from training.tracking import Tracking, TrackingError

        with self._opening:
            if self._tracking is None:
                try:
                    self._tracking = Tracking(self.tracking_uri)
                except TrackingError as error:
                    raise _no_store(error) from error
            return self._tracking

    def look_up(self, question: Callable[[Tracking], T]) -> T:
        """Ask MLflow something, with trouble in plain words."""
        from training.tracking import StoreAway, TrackingError

        tracking = self.tracking()
        try:
            with UPSTREAM.labels("mlflow").time():
                return question(tracking)
        except StoreAway as error:
            self._tracking = None
            raise _no_store(error) from error
        except TrackingError as error:
            raise Trouble("MLflow has not got this", f"{_sentence(str(error))}") from error

    def versions(self) -> list[Version]:
        """Every version of the model in service, the newest first."""
        model = str(self.about()["name"])
        return self.look_up(lambda tracking: tracking.versions(model))

    def champion(self) -> Any:
        """The ModelBundle of the version in service, deciding by the threshold in service."""
        return self.bundle(str(self.about()["version"]))

    def bundle(self, version: str) -> Any:
        """The ModelBundle of a version of the model in service."""
        model = str(self.about()["name"])
        named = (model, str(version))
        with self._opening:
            if named in self._bundles:
                self._bundles.move_to_end(named)
                return self._bundles[named]
        # One after the other: of many who ask for the same, one fetches it.
        with self._fetching:
            with self._opening:
                if named in self._bundles:
                    return self._bundles[named]
            found = self.look_up(lambda tracking: tracking.fetch(tracking.version(*named)))
            with self._opening:
                self._bundles[named] = found
                while len(self._bundles) > BUNDLES:
                    self._bundles.popitem(last=False)
        return found

    def stranger(self) -> Trouble:
        """What is told of a service that answers and is not fraudray's graph."""
        told = f"{self.url} answers, but not as fraudray's graph does. Is the address right?"
        return Trouble("The service cannot be reached", told)

    def _silent(self, error: ServiceError) -> Trouble:
        if error.status == 503:
            title = "The service has no model to answer with yet, or more to do than it can"
            return Trouble(title, f"{_sentence(str(error))} Wait a little, then try again. {_NEW}")
        if error.status is None:
            return Trouble("The service cannot be reached", _sentence(str(error)))
        if error.status == 404:
            return self.stranger()
        return Trouble("The service did not answer as it should", _sentence(str(error)))


_NEW = (
    "If no champion was ever chosen, make one: `fraudray train` registers a model, "
    "`fraudray promote` lets it serve."
)


_OPERATOR = (
    "Whoever changes what decides shows an operator's key for it. `fraudray keys add NAME "
    "--role operator` makes one."
)


def _unauthorised(error: Unauthorised) -> Trouble:
    if error.status == 403:
        said = "This key may ask for scores but not change what decides. Give an operator's key."
    else:
        said = (
            "The service wants a key that it knows. `fraudray keys add NAME --role operator` makes "
            "one for orders; the page itself is given its own in FRAUDRAY_KEY."
        )
    return Trouble("The key does not open this", said)


def _no_store(error: Exception) -> Trouble:
    said = f"{_sentence(str(error))} Scoring goes on without it."
    return Trouble("MLflow cannot be reached", said)


def _sentence(said: str) -> str:
    said = " ".join(said.split())
    return said[:1].upper() + said[1:] + ("" if said.endswith((".", "!", "?")) else ".")
