"""What neither a schema nor the API server says of manifests, and a live cluster only too late.

Each check takes the objects that are applied together and yields what is wrong, in a line each:

    kubectl kustomize k8s/overlays/production | python -m k8s.checks
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from k8s.checks import network, ray, workloads
from k8s.checks.pods import Object

CHECKS: Final[tuple[Callable[[list[Object]], Iterator[str]], ...]] = (
    *workloads.CHECKS,
    *ray.CHECKS,
    *network.CHECKS,
)


def problems(objects: list[Object]) -> list[str]:
    """All that is wrong with objects that are applied together."""
    return [problem for check in CHECKS for problem in check(objects)]
