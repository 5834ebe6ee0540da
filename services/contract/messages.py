"""Strict reading of versioned JSON messages between services. Pure."""

from __future__ import annotations

import json
from typing import Any

from services.contract.errors import FieldError, MessageError, UnknownVersionError, shorten


def read_object(what: str, data: bytes | str, *, limit_bytes: int) -> dict[str, Any]:
    """Parse a JSON object of at most `limit_bytes`.

    Raises:
        MessageError: too long, not JSON in UTF-8, not an object, with a number that JSON does not have, or with a
            key twice (parsers disagree about which one holds).
    """
    size_bytes = len(data) if isinstance(data, bytes) or len(data) > limit_bytes else len(data.encode(errors="replace"))
    if size_bytes > limit_bytes:
        raise MessageError(f"{what}: got {size_bytes} bytes, expected at most {limit_bytes}")
    try:
        # Decoded here, because json.loads guesses the encoding and takes UTF-16 too.
        text = data.decode() if isinstance(data, bytes) else data
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_refuse_duplicates)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"{what}: not JSON ({shorten(str(error))}); send one JSON object") from error
    if not isinstance(value, dict):
        raise MessageError(f"{what}: got {shorten(value)}, expected a JSON object")
    return value


def read_versioned(what: str, data: bytes | str, *, version: int, limit_bytes: int) -> dict[str, Any]:
    """Read an object as `read_object` does; its field `v` must be `version`.

    Raises:
        UnknownVersionError: another version.
        MessageError: as `read_object`.
    """
    value = read_object(what, data, limit_bytes=limit_bytes)
    if type(value.get("v")) is not int or value["v"] != version:
        raise UnknownVersionError(what, value.get("v"), version)
    return value


def take_int(value: dict[str, Any], field: str, low: int, high: int) -> int:
    """The whole number in `field`, from `low` to `high`.

    Raises:
        FieldError: it is not there or not such a number.
    """
    number = value.get(field)
    if type(number) is not int or not low <= number <= high:
        raise FieldError(field, number, f"a whole number from {low} to {high}")
    return number


def take_number(value: dict[str, Any], field: str, low: float, high: float) -> float:
    """The finite number in `field`, from `low` to `high`.

    Raises:
        FieldError: it is not there or not such a number.
    """
    number = value.get(field)
    if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
        raise FieldError(field, number, f"a number from {low:g} to {high:g}")
    return float(number)


def take_text(value: dict[str, Any], field: str, limit: int = 100) -> str:
    """The text of 1 to `limit` printable characters in `field`.

    Raises:
        FieldError: it is not there or not such a text.
    """
    text = value.get(field)
    # Line breaks and lone surrogates would break a log or a label later.
    if not isinstance(text, str) or not 0 < len(text) <= limit or not text.isprintable():
        raise FieldError(field, text, f"a text of 1 to {limit} printable characters")
    return text


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key twice in one object")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
