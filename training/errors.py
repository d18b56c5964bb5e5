"""The errors a person may cause, each with the exit code the command line gives it."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text from outside as it may stand in a message: one line, nothing a terminal obeys."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class FraudrayError(Exception):
    """Something a person can mend; the message is one line that says how."""

    exit_code = 1


class UsageError(FraudrayError):
    """A value of the request itself cannot be right, whatever the data."""

    exit_code = 2


class DataRefused(FraudrayError):
    """The data cannot be used as it is: the message names column, expectation and value."""

    exit_code = 3
