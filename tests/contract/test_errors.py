from __future__ import annotations

import pytest
from hypothesis import given

from services.contract.errors import (
    ContractError,
    FieldError,
    MessageError,
    TruncatedError,
    UnknownVersionError,
    shorten,
)
from tests.contract.strategies import values


def test_every_error_says_what_was_seen_what_was_expected_and_what_to_do() -> None:
    assert str(FieldError("bpm", 10, "40 to 180")) == "bpm: got 10, expected 40 to 180"
    assert str(TruncatedError("block", 5, 53)) == "block: got 5 bytes, expected 53; drop it and ask again"
    assert str(UnknownVersionError("block", 2, 1)) == (
        "block: version 2 is unknown, this build knows 1; upgrade the older side"
    )


def test_all_of_them_are_one_kind_of_error() -> None:
    for error in (FieldError, MessageError, TruncatedError, UnknownVersionError):
        assert issubclass(error, ContractError)
    assert issubclass(ContractError, ValueError)


@given(values)
def test_whatever_was_seen_is_shown_in_a_line(value: object) -> None:
    shown = shorten(value)
    assert len(shown) <= 500
    assert "\n" not in shown


@pytest.mark.parametrize("value", ["x" * 10**6, b"x" * 10**6, ["x" * 10**6], 10**4200])
def test_a_huge_value_is_cut(value: object) -> None:
    assert len(shorten(value)) <= 90
    assert shorten(value).endswith("…")


def test_a_value_that_cannot_be_shown_is_named_by_its_type() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shorten(deep) == "a list that cannot be shown"
    assert shorten(10**5000) == "a int that cannot be shown"
    # Taken apart from the outside: freeing it in one go would be as deep as building its text.
    while deep:
        deep = deep[0]  # type: ignore[assignment]
