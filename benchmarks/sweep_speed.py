"""The same grid by GridSearchCV, by plain Ray Tune and by a sweep of ours: scores and seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Final

from page import Broken, met, table
from sweep_case import Case
from sweep_ours import Swept, ray_running, swept
from sweep_peers import Searched, cross_validated, grid_search, plain_tune

from training.recipe import Recipe

SAME: Final = {"logistic-regression": 1e-6, "random-forest": 1e-6, "xgboost": 1e-4}
"""How far scores may be apart."""
LOST: Final = 0.002
"""PR-AUC that pruning may cost."""
OVER_GRID_SEARCH: Final = (2.0, 8.0)
"""How many times faster than GridSearchCV, without pruning and with."""
OVER_TUNE: Final = (3.0, 12.0)


@dataclass(frozen=True)
class Ours:
    """Both sweeps of ours over one grid."""

    start_seconds: float
    whole: Swept
    pruned: Swept


class Race:
    """One grid, searched by all; each search runs once, when its figures are first asked for."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    @cached_property
    def case(self) -> Case:
        """So many payments."""
        return Case.of(self._rows)

    @cached_property
    def grid_searches(self) -> tuple[Searched, Searched]:
        """GridSearchCV as it is, and with what comes before the estimator kept on disk."""
        return grid_search(self.case, cached=False), grid_search(self.case, cached=True)

    @cached_property
    def ours(self) -> Ours:
        """Without pruning, then with."""
        with ray_running() as seconds:
            return Ours(seconds, swept(self.case, "none"), swept(self.case, "asha"))

    @cached_property
    def tune(self) -> Searched:
        """Plain Ray Tune."""
        with ray_running(), TemporaryDirectory() as folder:
            return plain_tune(self.case, Path(folder))

    def grid_block(self) -> str:
        """Ours beside GridSearchCV."""
        plain, cached = self.grid_searches
        peers = {"`GridSearchCV(n_jobs=-1)`": plain, "the same with `memory`": cached}
        return self._block(peers, OVER_GRID_SEARCH)

    def tune_block(self) -> str:
        """Ours beside plain Ray Tune."""
        return self._block({"plain Ray Tune": self.tune}, OVER_TUNE)

    def _block(self, peers: Mapping[str, Searched], aims: tuple[float, float]) -> str:
        """Each of ours held to its aim over the first of the peers, and beside the others."""
        ours = self.ours
        peer = next(iter(peers.values()))
        apart = differences(ours.whole.scores, peer.scores, self.case.recipes)
        lost = peer.best - ours.pruned.best
        ends = [
            ("fraudray, no pruning", ours.whole, aims[0], _apart(apart)),
            ("fraudray, ASHA", ours.pruned, aims[1], met(lost <= LOST, f"at most {LOST:g} lower")),
        ]
        none = [""] * (len(peers) + 1)
        rows = [[name, f"{p.seconds:.1f}", *none, f"{p.best:.4f}", ""] for name, p in peers.items()]
        for name, search, aim, equal in ends:
            first, *rest = (p.seconds / search.seconds for p in peers.values())
            rows.append(
                [name, f"{search.seconds:.1f}", f"{first:.1f}", met(first >= aim, f"{aim:g}"),
                 *(f"{times:.1f}" for times in rest), f"{search.best:.4f}", equal]
            )  # fmt: skip
        started = [
            f"{peer.seconds / (search.seconds + ours.start_seconds):.1f}"
            for search in (ours.whole, ours.pruned)
        ]
        others = [f"than {name}" for name in list(peers)[1:]]
        heads = ["", "seconds", "times faster", "at least", *others, "best PR-AUC", "scores"]
        return "\n\n".join(
            [
                f"{self.case.words()}.",
                table(heads, rows),
                f"ASHA pruned {ours.pruned.pruned} of {len(ours.pruned.trials)}. Ray runs already; "
                f"its start took {ours.start_seconds:.1f} s, with which it would be "
                f"{' and '.join(started)} times.",
            ]
        )


def equal_block(case: Case) -> str:
    """Scores of a sweep beside those of `cross_validate`, configuration by configuration."""
    with ray_running():
        ours = swept(case, "none").scores
    theirs = {recipe.key: cross_validated(case, recipe) for recipe in case.recipes}
    apart = differences(ours, theirs, case.recipes)
    rows = []
    for name, most in apart.items():
        of = [recipe.key for recipe in case.recipes if recipe.family == name]
        rows.append(
            [name, str(len(of)), f"{fmean(theirs[key] for key in of):.4f}", f"{most:.1e}",
             met(most <= SAME[name], f"{SAME[name]:g}")]
        )  # fmt: skip
    heads = ["family", "configurations", "mean PR-AUC", "most apart", "at most"]
    return f"{case.words()}.\n\n{table(heads, rows)}"


def differences(
    ours: Mapping[str, float], theirs: Mapping[str, float], recipes: list[Recipe]
) -> dict[str, float]:
    """The largest difference of two scores of one configuration, by family.

    Raises
    ------
    Broken
        If one of them lacks a configuration.
    """
    apart: dict[str, float] = {}
    for recipe in recipes:
        if not (recipe.key in ours and recipe.key in theirs):
            raise Broken(f"{recipe.label}, {dict(recipe.params)}: was not judged by both")
        difference = abs(ours[recipe.key] - theirs[recipe.key])
        apart[recipe.family] = max(apart.get(recipe.family, 0.0), difference)
    return apart


def _apart(apart: Mapping[str, float]) -> str:
    equal = all(most <= SAME[name] for name, most in apart.items())
    return f"{max(apart.values()):.0e} apart at most, {met(equal, 'equal')}"
