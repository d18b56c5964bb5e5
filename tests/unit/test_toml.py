"""What is written as TOML is read back."""

from __future__ import annotations

import tomllib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from training.propose import toml


@given(st.dictionaries(st.text(), st.text() | st.booleans() | st.lists(st.text())))
def test_what_is_written_as_toml_is_read_back(table: dict[str, Any]) -> None:
    lines = [*toml.comment("".join(table), indent="  "), *toml.fields(table)]

    assert tomllib.loads("\n".join(lines)) == table


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**18), 10**18))
def test_a_number_written_as_toml_is_read_back(number: float) -> None:
    assert float(tomllib.loads("x = " + toml.value(number))["x"]) == float(number)
