"""What a sweep was asked for: enough to begin it, or to go on with it on another day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from fraudray.pipeline import audited
from fraudray.search import PreparedSearch, Search
from training.data import MAX_BAD_SHARE
from training.errors import UsageError
from training.source import Source
from training.spec import DatasetSpec
from training.split import SplitPlan
from tuning.select import Promotion


@dataclass(frozen=True)
class Order:
    """What was asked for: enough to begin a sweep, or to go on with it on another day.

    Attributes
    ----------
    spec
        As `DatasetSpec.to_dict` gives it: a spec's file may have changed since.
    file
        A URL, or a path that does not depend on the folder the command runs in.
    model
        The registered model that the winner becomes a version of.
    time_budget
        Seconds for the trials of each life of the sweep; None for no end.
    """

    file: str
    spec: dict[str, Any]
    search: Search
    model: str = ""
    split: SplitPlan = field(default_factory=SplitPlan)
    max_bad: float = MAX_BAD_SHARE
    promote: Promotion = "auto"
    time_budget: float | None = None

    def __post_init__(self) -> None:
        """Refuse what would never end."""
        if self.time_budget is None and self.search.endless:
            raise UsageError(
                "nothing ends this sweep: give --trials, or a --time-budget in seconds"
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON carries it."""
        return asdict(self) | {"search": self.search.to_dict()}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read back what `to_dict` gave."""
        return cls(
            **{
                **content,
                "search": Search.from_dict(content["search"]),
                "split": SplitPlan(**content["split"]),
            }
        )

    def prepare(self) -> PreparedSearch:
        """Read and audit the file, make the folds."""
        spec = DatasetSpec.from_dict(self.spec)
        return self.search.prepare(audited(self.file, spec, self.split, self.max_bad))


def placed(file: str) -> str:
    """A file's name as it may be kept: it means the same in every folder."""
    return file if Source(file).remote else str(Path(file).absolute())
