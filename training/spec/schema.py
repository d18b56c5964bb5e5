"""DatasetSpec: the schema as data.

A spec names the columns of a payments file, what each is for, its range, and the recipe of the
features made from them. Request validation, the form, the model signature and the drift metrics
derive from it, so other columns need another TOML file and no code.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from training.errors import UsageError
from training.spec import rules
from training.spec.mistake import Mistake, in_fields
from training.spec.name import Name

TEXT_LIMIT = 200
"""Characters of a text in a file or a request."""

HOUR_OF_DAY = "hour of the day"
"""The unit of a column that is a time on a clock; the audit checks that it looks like one."""


Number = Annotated[float, Field(strict=True)]
"""No text and no boolean that might be read as one."""

Flag = Annotated[bool, Field(strict=True)]
"""True or false, and no word or number that might be read as either."""


class SpecError(UsageError):
    """A spec that cannot be used; the message lists every mistake found.

    Attributes
    ----------
    mistakes
        One by one; none if the file cannot be read at all.
    """

    mistakes: tuple[Mistake, ...] = ()


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_Part = TypeVar("_Part", bound=_Frozen)


class Column(_Frozen):
    """One column of a payments file.

    Attributes
    ----------
    role
        `feature` feeds the model; `timestamp` orders the rows in time (`text` in ISO 8601, or
        `number` for seconds since any moment); `entity` says who pays; `annotation` is kept for
        reports and never shown to a model.
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
    cycle
        The field follows the time of day, or of the week: a part of one never spreads like all of
        it, so how far it has drifted is told of a whole one.
    """

    role: Literal["feature", "timestamp", "entity", "annotation"] = "feature"
    type: Literal["number", "category", "boolean", "text"] = "number"
    required: Flag = False
    skewed: Flag = False
    integer: Flag = False
    minimum: Number | None = None
    maximum: Number | None = None
    categories: tuple[str, ...] = ()
    cycle: Literal["day", "week"] | None = None
    unit: str = ""
    description: str = ""
    example: Number | str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        return _checked(self, rules.of_column(dict(self)))

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


class Costs(_Frozen):
    """What the two kinds of error cost, in one currency.

    Attributes
    ----------
    missed_fraud
        Of a fraud that is let through, where its amount is not known.
    false_alarm
        Of an alert on a legitimate payment: the review, and the customer's patience.
    amount
        The input that says what a missed fraud costs, payment by payment.
    """

    missed_fraud: Number = Field(default=100.0, ge=0)
    false_alarm: Number = Field(default=5.0, ge=0)
    amount: str | None = None


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
    skewed: Flag = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns it is made from."""
        return (self.numerator, self.denominator)


class Bins(_Frozen):
    """A number cut into named ranges; an edge belongs to the range above it."""

    kind: Literal["bins"]
    input: str
    edges: tuple[Number, ...] = Field(min_length=1)
    labels: tuple[str, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        return _checked(self, rules.of_bins(dict(self)))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns it is made from."""
        return (self.input,)


Feature = Annotated[Cross | Ratio | Bins, Field(discriminator="kind")]


class DatasetSpec(_Frozen):
    """Columns, their roles and ranges, and the feature recipe of one kind of payments file.

    Attributes
    ----------
    label_values
        What the label column holds for a legitimate payment and for a fraud.

    Examples
    --------
    >>> spec = DatasetSpec.load("payments")
    >>> spec.label, spec.columns["localTime"].expectation
    ('label', 'a number from 0 to 24')
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    label: Name
    label_values: tuple[str, str] = ("0", "1")
    description: str = ""
    costs: Costs = Costs()
    columns: dict[Name, Column] = Field(min_length=1)
    features: dict[Name, Feature] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        return _checked(self, rules.across(self.model_dump(), _MODELS))

    @property
    def inputs(self) -> dict[str, Column]:
        """The columns a model may see, in the order of the spec."""
        return {name: c for name, c in self.columns.items() if c.role == "feature"}

    @property
    def timestamp(self) -> str | None:
        """The column that orders the rows in time, if the spec has one."""
        return self._only("timestamp")

    @property
    def entity(self) -> str | None:
        """The column that says who pays, if the spec has one."""
        return self._only("entity")

    def _only(self, role: str) -> str | None:
        return next((name for name, c in self.columns.items() if c.role == role), None)

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
        if found := mistakes(content):
            error = SpecError(f"{source}: {'; '.join(map(str, found))}")
            error.mistakes = tuple(found)
            raise error
        return cls.model_validate(content)

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


_MODELS: dict[str, type[BaseModel]] = {
    "spec": DatasetSpec, "costs": Costs, "column": Column,
    "cross": Cross, "ratio": Ratio, "bins": Bins,
}  # fmt: skip


def mistakes(content: Any) -> list[Mistake]:
    """Every mistake of a spec in plain types, as TOML and JSON have them; none if it is right."""
    try:
        DatasetSpec.model_validate(content)
    except ValidationError as error:
        fields = in_fields(error, _MODELS)
        return [*fields.values(), *rules.across(content, _MODELS, fields)]
    return []


def _checked(part: _Part, found: list[Mistake]) -> _Part:
    if found:
        raise ValueError("; ".join(map(str, found)))
    return part
