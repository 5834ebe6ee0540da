from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.contract.errors import FieldError, MessageError, UnknownVersionError
from services.contract.messages import read_object, read_versioned, take_int, take_number, take_text
from tests.contract.strategies import HOSTILE_JSON, values


def test_an_object_is_read_from_bytes_and_from_text() -> None:
    assert read_object("x", b'{"a":"\xc3\xa4"}', limit_bytes=100) == {"a": "ä"}
    assert read_object("x", '{"a":"ä"}', limit_bytes=100) == {"a": "ä"}


def test_the_limit_is_in_bytes_for_text_too() -> None:
    text = json.dumps({"a": "ä" * 40}, ensure_ascii=False)
    assert len(text) < 60 < len(text.encode())
    assert read_object("x", text, limit_bytes=len(text.encode()))
    with pytest.raises(MessageError, match=f"got {len(text.encode())} bytes, expected at most 60"):
        read_object("x", text, limit_bytes=60)


def test_a_text_with_half_a_surrogate_pair_is_measured_all_the_same() -> None:
    assert read_object("x", '{"a":"\ud800"}', limit_bytes=100)


@pytest.mark.parametrize(
    ("name", "data"),
    [(name, data) for name, data in HOSTILE_JSON if "number of 400" not in name and "deep" not in name],
)
def test_what_is_not_one_json_object_is_refused_with_the_messages_name(name: str, data: bytes) -> None:
    assert name
    with pytest.raises(MessageError, match=r"^greeting: "):
        read_object("greeting", data, limit_bytes=4096)


@pytest.mark.parametrize("depth", [100, 500, 1_000, 5_000, 50_000, 400_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_of_any_depth_is_read_or_refused_but_never_breaks_the_reader(
    depth: int, opening: bytes, closing: bytes
) -> None:
    data = b'{"a":' + opening * depth + b"1" + closing * depth + b"}"
    try:
        value = read_object("x", data, limit_bytes=10_000_000)
    except MessageError:
        return
    with pytest.raises(FieldError) as caught:
        take_int(value, "a", 0, 1)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("digits", [20, 400, 4_000, 5_000])
def test_a_number_of_many_digits_is_refused_without_ado(digits: int) -> None:
    data = b'{"a":' + b"9" * digits + b"}"
    with pytest.raises((MessageError, FieldError)) as caught:
        take_int(read_object("x", data, limit_bytes=10_000), "a", 0, 10)
    assert len(str(caught.value)) < 300
    with pytest.raises((MessageError, FieldError)):
        take_number(read_object("x", data, limit_bytes=10_000), "a", 0, 10)


def test_a_number_too_large_for_a_float_is_not_finite_and_refused() -> None:
    value = read_object("x", b'{"a":1e400}', limit_bytes=100)
    with pytest.raises(FieldError):
        take_number(value, "a", 0, 1e308)


@given(values)
@example(3)
def test_only_the_very_version_is_taken(version: object) -> None:
    data = json.dumps({"v": version})
    if type(version) is int and version == 3:
        assert read_versioned("x", data, version=3, limit_bytes=10_000) == {"v": 3}
    else:
        with pytest.raises((UnknownVersionError, MessageError)):
            read_versioned("x", data, version=3, limit_bytes=10_000)
    assert read_versioned("x", '{"v":3}', version=3, limit_bytes=100) == {"v": 3}


@given(values)
@example(-5)
@example(4.5)
@example("ten signs.")
def test_a_field_is_of_its_type_and_range_or_an_error_that_names_it(value: object) -> None:
    message = {"field": value}
    for read, taken in (
        (lambda: take_int(message, "field", -5, 5), type(value) is int and -5 <= value <= 5),
        (
            lambda: take_number(message, "field", -5, 5),
            isinstance(value, int | float) and not isinstance(value, bool) and -5 <= value <= 5,
        ),
        (
            lambda: take_text(message, "field", 10),
            isinstance(value, str) and 0 < len(value) <= 10 and value.isprintable(),
        ),
    ):
        if taken:
            assert read() == value  # type: ignore[no-untyped-call]
        else:
            with pytest.raises(FieldError) as caught:
                read()  # type: ignore[no-untyped-call]
            assert caught.value.field == "field"
            assert len(str(caught.value)) < 400


def test_a_missing_field_is_an_error_that_names_it() -> None:
    for read in (
        lambda: take_int({}, "field", 0, 1),
        lambda: take_number({}, "field", 0, 1),
        lambda: take_text({}, "field"),
    ):
        with pytest.raises(FieldError, match=r"^field: got None, expected"):
            read()


@given(st.text(max_size=20))
def test_a_text_that_would_break_a_log_line_or_a_label_is_refused(text: str) -> None:
    try:
        taken = take_text({"field": text}, "field")
    except FieldError:
        return
    assert taken == text
    assert "\n" not in taken
    taken.encode()
