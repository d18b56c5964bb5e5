"""A sweep from settings to a registered model: what `tune` and the demo run."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import pandas as pd

from fraudray.output import say
from fraudray.pipeline import Audited, Published, publish, timestamped
from fraudray.reports import SweepView
from training.errors import DataRefused
from training.fit import Recipe, train
from training.identity import fingerprint
from training.models import FAMILIES
from training.resample import NEIGHBOURS
from training.threshold import DEFAULT_POLICY, Policy
from training.tracking import Tracking
from tuning.callbacks import MLflowCallback
from tuning.objective import METRIC, Fold, natural_ratio, prepare
from tuning.select import winner
from tuning.space import sample
from tuning.sweep import Trial, sweep

EXPERIMENT = "fraudray-tune"


@dataclass(frozen=True)
class Search:
    """The settings of a sweep.

    Raises
    ------
    UsageError
        On construction, for what no data could make right.
    """

    models: tuple[str, ...] = tuple(FAMILIES)
    trials: int = 24
    folds: int = 3
    concurrency: int = 2
    policy: str = DEFAULT_POLICY
    seed: int = 0

    def __post_init__(self) -> None:
        self._recipes(natural=0.01)

    def prepare(self, material: Audited) -> PreparedSearch:
        """Make folds and recipes; everything that can be refused is refused here, before Ray.

        Raises
        ------
        DataRefused
            If there are too few frauds for the folds, or for SMOTE in any of them, or the policy's
            amounts are not in the file.
        """
        dataset, parts = material.dataset, material.parts
        Policy.parse(self.policy).require(dataset.columns, dataset.source)
        folds = prepare(dataset, parts, material.report, self.folds, self.policy)
        # The newest rows are fitted on by the winner alone, and may hold more frauds.
        whole = dataset.label[parts.train].mean()
        natural = max(natural_ratio(folds), float(whole / (1 - whole)))
        recipes = self._recipes(natural=natural)
        fewest = min(int(fold.fit_label.sum()) for fold in folds)
        if fewest <= NEIGHBOURS and any(recipe.smote for recipe in recipes):
            raise DataRefused(
                f"{dataset.source}: a fold has only {fewest} frauds to fit on; SMOTE needs more "
                f"than {NEIGHBOURS}. Get more labelled frauds, or fit without SMOTE by "
                f"`fraudray train`"
            )
        return PreparedSearch(self, material, folds, recipes)

    def _recipes(self, natural: float) -> list[Recipe]:
        return sample(
            self.trials, natural=natural, models=self.models, policy=self.policy, seed=self.seed
        )


@dataclass(frozen=True)
class PreparedSearch:
    """A sweep that only waits for a cluster."""

    search: Search
    material: Audited
    folds: list[Fold]
    recipes: list[Recipe]

    def run(self, tracking: Tracking, *, name: str | None, model: str) -> Published:
        """Run the trials on the cluster this process is connected to; register the winner.

        Parameters
        ----------
        name
            Of the sweep and its parent run.
        model
            The registered model.
        """
        dataset, parts = self.material.dataset, self.material.parts
        name = name or timestamped(dataset.spec.name)
        settings = asdict(self.search) | {"models": ", ".join(self.search.models)}
        with tracking.run(EXPERIMENT, name, tags={"sweep": name}) as run:
            tracking.log(
                run,
                params={f"sweep.{k}": v for k, v in settings.items()},
                tags={
                    "fingerprint": fingerprint(dataset),
                    "split": parts.fingerprint,
                    "source": dataset.source,
                },
            )
            say(f"Sweep {name}: {len(self.recipes)} trials, {self.search.concurrency} at a time")
            trials = sweep(
                self.recipes,
                self.folds,
                name=name,
                tracked_by=MLflowCallback(tracking.uri, tracking.experiment(EXPERIMENT), run),
                tell=SweepView(),
                concurrency=self.search.concurrency,
            )
            best = winner(trials)
            tracking.text(run, leaderboard(trials).to_csv(index=False), "leaderboard.csv")
            tracking.log(run, metrics={f"best_{METRIC}": best.metrics[METRIC]})
            say(f"Winner: {best.recipe.label}; refitting, calibrating and testing it")
            bundle = train(dataset, parts, best.recipe, self.material.report, threads=2)
            return publish(tracking, run, model, bundle, self.material)


def leaderboard(trials: list[Trial]) -> pd.DataFrame:
    """Every trial with its recipe and metrics, the best first, failed ones last."""
    rows = [
        {
            "family": t.recipe.family,
            "smote": t.recipe.smote,
            **t.metrics,
            "seconds": t.seconds,
            "params": dict(t.recipe.params),
            "failure": t.failure,
        }
        for t in trials
    ]
    return pd.DataFrame(rows).sort_values(METRIC, ascending=False, na_position="last")
