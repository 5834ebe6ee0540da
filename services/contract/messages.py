"""Reading versioned JSON messages strictly: shared by every JSON message between services."""

from __future__ import annotations

import json
from typing import Any

from services.contract.errors import FieldError, MessageError, UnknownVersionError, shorten


def read_object(what: str, data: bytes | str, *, limit_bytes: int) -> dict[str, Any]:
    """Parse a JSON object of at most `limit_bytes`.

    Raises:
        MessageError: too long, not JSON, not an object, or with a number JSON does not have.
    """
    if len(data) > limit_bytes:
        raise MessageError(f"{what}: got {len(data)} bytes, expected at most {limit_bytes}")
    try:
        value = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"{what}: not JSON ({shorten(str(error))}); send one JSON object") from error
    if not isinstance(value, dict):
        raise MessageError(f"{what}: got {shorten(value)}, expected a JSON object")
    return value


def read_versioned(what: str, data: bytes | str, *, version: int, limit_bytes: int) -> dict[str, Any]:
    """`read_object`, and its field `v` must be `version`.

    Raises:
        UnknownVersionError: another version.
        MessageError: as `read_object`.
    """
    value = read_object(what, data, limit_bytes=limit_bytes)
    if type(value.get("v")) is not int or value["v"] != version:
        raise UnknownVersionError(what, value.get("v"), version)
    return value


def take_int(value: dict[str, Any], field: str, low: int, high: int) -> int:
    """The whole number in `field`, or FieldError."""
    number = value.get(field)
    if type(number) is not int or not low <= number <= high:
        raise FieldError(field, number, f"a whole number from {low} to {high}")
    return number


def take_number(value: dict[str, Any], field: str, low: float, high: float) -> float:
    """The finite number in `field`, or FieldError."""
    number = value.get(field)
    if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
        raise FieldError(field, number, f"a number from {low:g} to {high:g}")
    return float(number)


def take_text(value: dict[str, Any], field: str, limit: int = 100) -> str:
    """The non-empty string of at most `limit` characters in `field`, or FieldError."""
    text = value.get(field)
    if not isinstance(text, str) or not 0 < len(text) <= limit:
        raise FieldError(field, text, f"a text of 1 to {limit} characters")
    return text


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
