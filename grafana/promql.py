"""Expressions that rules and panels share: rules see everything, panels what is chosen on top."""

from __future__ import annotations

from typing import Final

_CHOICES: Final = {
    "<served>": 'cluster=~"$cluster",application=~"$application"',
    "<cluster>": 'cluster=~"$cluster"',
    "<version>": 'model_version=~"$version"',
    "<sweep>": 'sweep=~"$sweep"',
}
_WINDOW: Final = "<window>"


def served(metric: str, *matchers: str) -> str:
    """A selector of something that an application tells."""
    return _selector(metric, "<served>", *matchers)


def versioned(metric: str, *matchers: str) -> str:
    """A selector of something told of each version."""
    return _selector(metric, "<served>", "<version>", *matchers)


def clustered(metric: str, *matchers: str) -> str:
    """A selector of something that a cluster tells, whatever runs on it."""
    return _selector(metric, "<cluster>", *matchers)


def swept(metric: str, *matchers: str) -> str:
    """A selector of something that a sweep tells."""
    return _selector(metric, "<cluster>", "<sweep>", *matchers)


def rate(selector: str, window: str = _WINDOW) -> str:
    """Its rate a second; over five minutes in rules, over what a panel resolves in panels."""
    return f"rate({selector}[{window}])"


def by(labels: str, aggregated: str, operation: str = "sum") -> str:
    """An aggregation that keeps these labels."""
    return f"{operation} by ({labels}) ({aggregated})"


def grown(labels: str, counter: str, window: str) -> str:
    """How much a counter grew, one that was not there before included.

    Ray shows a counter when it is first raised, so what happens once is the counter's first value,
    in which `increase` sees no growth. A gap must not look like that, so the last value of the day
    before counts too.
    """
    before = f"last_over_time({counter}[1d] offset {window})"
    return by(labels, f"{counter} - {before} or {counter}")


def quantile(q: float, bucket: str, *labels: str) -> str:
    """A quantile of a histogram, estimated within its bucket, by these labels."""
    return f"histogram_quantile({q:g}, {by(', '.join((*labels, 'le')), rate(bucket))})"


def in_rule(expression: str) -> str:
    """The expression as a rule has it: of all clusters, applications and versions."""
    for choice in _CHOICES:
        expression = expression.replace(f"{choice},", "").replace(choice, "")
    return expression.replace("{}", "").replace(_WINDOW, "5m")


def in_panel(expression: str) -> str:
    """The expression as a panel has it: of what the dashboard's variables choose."""
    for choice, matchers in _CHOICES.items():
        expression = expression.replace(choice, matchers)
    return expression.replace(_WINDOW, "$__rate_interval")


def _selector(metric: str, *matchers: str) -> str:
    return f"{metric}{{{','.join(matchers)}}}"
