"""Pure: a stream as the query of a URL."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from services.contract.errors import FieldError, shorten
from services.contract.spec import SPEC_FIELDS, StreamSpec

_NUMBERS: Final[Mapping[str, Callable[[str], float]]] = {"bpm": int, "seed": int, "intensity": float}
_NUMBER: Final = re.compile(r"[0-9.eE+-]{1,32}")
_TOKEN: Final = "token"  # noqa: S105 - the name of a field
_MAX_FIELDS: Final = 32
_MAX_NAME_CHARS: Final = 40


def spec_from_query(query_string: str) -> StreamSpec:
    """The stream that `key=D&mode=dorian&bpm=60` names; absent fields take their defaults, a token is skipped.

    Raises:
        FieldError: a field is unknown, given twice, or has a value that cannot be used.
        ValueError: there are more than 32 fields.
    """
    params: dict[str, Any] = {}
    for name, values in parse_qs(query_string, keep_blank_values=True, max_num_fields=_MAX_FIELDS).items():
        if name == _TOKEN:
            continue
        if name not in SPEC_FIELDS:
            # Shortened, because the name goes into the answer and the log.
            shown = name if len(name) <= _MAX_NAME_CHARS else shorten(name, _MAX_NAME_CHARS)
            raise FieldError(shown, values[0], f"only {', '.join(SPEC_FIELDS)}")
        if len(values) > 1:
            raise FieldError(name, values, "one value")
        params[name] = _number(name, values[0]) if name in _NUMBERS else values[0]
    return StreamSpec.from_params(params)


def query_from_spec(spec: StreamSpec) -> str:
    """The query that `spec_from_query` reads back."""
    return urlencode(spec.to_params())


def title_of(spec: StreamSpec) -> str:
    """The stream in words, for people: "C dorian, 70 bpm, intensity 0.5, drift"."""
    return f"{spec.key} {spec.mode}, {spec.bpm} bpm, intensity {spec.intensity:g}, {spec.preset}"


def _number(name: str, text: str) -> float | str:
    # Python reads "7_0", " 70" and digits of other scripts as numbers; JSON, which names streams too, does not.
    if not _NUMBER.fullmatch(text):
        return text
    try:
        return _NUMBERS[name](text)
    except ValueError:
        # Left as text: the check of the spec names the range.
        return text
