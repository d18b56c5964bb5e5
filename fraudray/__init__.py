"""fraudray: fraud detection for payments, end to end on Ray.

This package ties the others together: the command line and the demo. For programs that ask a
running graph it has the clients, `fraudray.Client` and `fraudray.AsyncClient`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["AsyncClient", "Client"]

if TYPE_CHECKING:
    from serve_app.client import AsyncClient, Client
else:

    def __getattr__(name: str) -> object:
        """Import a client when it is asked for: the command line needs none to say --help."""
        if name in __all__:
            from serve_app import client

            return getattr(client, name)
        raise AttributeError(f"module 'fraudray' has no attribute {name!r}")
