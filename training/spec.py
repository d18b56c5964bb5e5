"""DatasetSpec: the schema as data.

A spec names the columns of a payments file, what each is for, its range, and the recipe of the
features made from them. Request validation, the form, the model signature and the drift metrics
derive from it, so other columns need another TOML file and no code.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.errors import UsageError

_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"

TEXT_LIMIT = 200
"""Characters of a text in a file or a request."""

HOUR_OF_DAY = "hour of the day"
"""The unit of a column that is a time on a clock; the audit checks that it looks like one."""


class SpecError(UsageError):
    """A spec that cannot be used; the message lists every mistake found."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Column(_Frozen):
    """One column of a payments file.

    Attributes
    ----------
    role
        `feature` feeds the model; `timestamp` orders the rows in time; `entity` says who pays;
        `annotation` is kept for reports and never shown to a model.
    type
        `number` (missing values take the median), `category` or `boolean` (0 or 1; missing values
        of these two take the most frequent one), `text` for columns that are not features.
    required
        The column must be in every file and the field in every request. An empty value is a
        missing value in either case.
    skewed
        A number with a long tail: log, then standardised. Any other number is scaled to 0..1.
    categories
        Values to offer in a form. Others are allowed; a model treats those it never saw as none.
    """

    role: Literal["feature", "timestamp", "entity", "annotation"] = "feature"
    type: Literal["number", "category", "boolean", "text"] = "number"
    required: bool = False
    skewed: bool = False
    integer: bool = False
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] = ()
    unit: str = ""
    description: str = ""
    example: float | str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.role == "feature" and self.type == "text":
            raise ValueError("a feature is a number, a category or a boolean, not text")
        if self.role != "feature" and self.type != "text":
            raise ValueError(f"a column with role {self.role!r} has type 'text'")
        if self.type != "number" and (self.skewed or self.integer):
            raise ValueError("skewed and integer are for numbers")
        if self.type != "number" and (self.minimum is not None or self.maximum is not None):
            raise ValueError("minimum and maximum are for numbers")
        if self.type != "category" and self.categories:
            raise ValueError("categories are for columns of type 'category'")
        if self.skewed and (self.minimum is None or self.minimum < 0):
            raise ValueError("a skewed number needs minimum >= 0")
        if None not in (self.minimum, self.maximum) and self.minimum > self.maximum:  # type: ignore[operator]
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        return self

    @property
    def expectation(self) -> str:
        """What a value must be, in words."""
        if self.type in ("category", "text"):
            return f"a text of at most {TEXT_LIMIT} characters"
        if self.type == "boolean":
            return "0 or 1"
        kind = "a whole number" if self.integer else "a number"
        match (self.minimum, self.maximum):
            case (None, None):
                return kind
            case (low, None):
                return f"{kind} of {low:g} or more"
            case (None, high):
                return f"{kind} of {high:g} or less"
            case (low, high):
                return f"{kind} from {low:g} to {high:g}"
        raise AssertionError


class Cross(_Frozen):
    """Every pair of values of two categories as a category of its own."""

    kind: Literal["cross"]
    left: str
    right: str

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns it is made from."""
        return (self.left, self.right)


class Ratio(_Frozen):
    """One number divided by another; 0 where the denominator is 0."""

    kind: Literal["ratio"]
    numerator: str
    denominator: str
    skewed: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns it is made from."""
        return (self.numerator, self.denominator)


class Bins(_Frozen):
    """A number cut into named ranges; an edge belongs to the range above it."""

    kind: Literal["bins"]
    input: str
    edges: tuple[float, ...] = Field(min_length=1)
    labels: tuple[str, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError("edges must rise")
        if len(self.labels) != len(self.edges) + 1:
            raise ValueError(f"{len(self.edges)} edges need {len(self.edges) + 1} labels")
        return self

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns it is made from."""
        return (self.input,)


Feature = Annotated[Cross | Ratio | Bins, Field(discriminator="kind")]


class DatasetSpec(_Frozen):
    """Columns, their roles and ranges, and the feature recipe of one kind of payments file.

    Examples
    --------
    >>> spec = DatasetSpec.load("payments")
    >>> spec.label, spec.columns["localTime"].expectation
    ('label', 'a number from 0 to 24')
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    label: str
    description: str = ""
    columns: dict[Annotated[str, Field(pattern=_NAME)], Column] = Field(min_length=1)
    features: dict[Annotated[str, Field(pattern=_NAME)], Feature] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        if self.label in self.columns:
            problems.append(f"the label {self.label!r} is listed among the columns")
        if not self.inputs:
            problems.append("no column has the role 'feature'")
        for role in ("timestamp", "entity"):
            found = [name for name, column in self.columns.items() if column.role == role]
            if len(found) > 1:
                problems.append(f"more than one column has the role {role!r}: {', '.join(found)}")
        for name, feature in self.features.items():
            if name in self.columns or name == self.label:
                problems.append(f"feature {name!r} has the name of a column")
            wanted = "category" if isinstance(feature, Cross) else "number"
            for source in feature.inputs:
                if source not in self.inputs:
                    problems.append(f"feature {name!r} is made from {source!r}, not an input")
                elif self.columns[source].type != wanted:
                    problems.append(f"feature {name!r} needs {source!r} to be a {wanted}")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def inputs(self) -> dict[str, Column]:
        """The columns a model may see, in the order of the spec."""
        return {name: c for name, c in self.columns.items() if c.role == "feature"}

    @property
    def timestamp(self) -> str | None:
        """The column that orders the rows in time, if the spec has one."""
        return next((name for name, c in self.columns.items() if c.role == "timestamp"), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` reads them back to an equal spec."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @classmethod
    def from_dict(cls, content: dict[str, Any], source: str = "spec") -> DatasetSpec:
        """Check plain types.

        Raises
        ------
        SpecError
            With every mistake found, each with its place.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            problems = [
                ".".join(map(str, e["loc"])) + (": " if e["loc"] else "") + e["msg"]
                for e in error.errors()
            ]
            raise SpecError(f"{source}: {'; '.join(problems)}") from None

    @classmethod
    def load(cls, name_or_path: str) -> DatasetSpec:
        """Read a spec shipped with fraudray by its name, or one of your own by its path.

        Raises
        ------
        SpecError
            If there is no such spec, or it has mistakes.
        """
        shipped = resources.files("training") / "specs"
        if name_or_path.endswith(".toml"):
            source = Path(name_or_path)
        else:
            source = Path(str(shipped / f"{name_or_path}.toml"))
        try:
            content = tomllib.loads(source.read_text(encoding="utf-8"))
        except FileNotFoundError:
            names = sorted(Path(f.name).stem for f in shipped.iterdir())
            raise SpecError(
                f"no spec {name_or_path!r}: give the path of a .toml file or one of "
                f"{', '.join(names)}"
            ) from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SpecError(f"{source}: cannot be read as TOML: {error}") from None
        return cls.from_dict(content, str(source))
