"""On the path of a graph, has it tell Ray nothing and measure no drift: Python imports this first.

The graph has no setting for it, as nobody else wants one; and its processes are started by Ray.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

IDLE = {"serve_app.metrics.bridge": ("Bridge", "tell"), "serve_app.tally": ("Tally", "note")}
"""By module, the class and its method that does nothing."""


class Idle(MetaPathFinder, Loader):
    """Finds these modules as Python does, and takes the method out of what is loaded."""

    def __init__(self) -> None:
        self._loaders: dict[str, Loader] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's, with this as its loader."""
        if fullname not in IDLE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            raise ImportError(f"the graph has no {fullname}: say what to leave out instead")
        self._loaders[fullname] = spec.loader
        spec.loader = self
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As Python does."""
        return self._loaders[spec.name].create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Load it, and take the method out."""
        self._loaders[module.__name__].exec_module(module)
        owner, method = IDLE[module.__name__]
        if not callable(getattr(getattr(module, owner), method)):
            raise ImportError(f"{module.__name__}.{owner}.{method} is nothing that is called")
        setattr(getattr(module, owner), method, _nothing)


def _nothing(*given: Any, **named: Any) -> None:
    del given, named


sys.meta_path.insert(0, Idle())
