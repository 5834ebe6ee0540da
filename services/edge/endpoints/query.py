"""A stream from a URL's query, for those who listen over HTTP. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from services.contract.errors import FieldError, shorten
from services.contract.spec import SPEC_FIELDS, StreamSpec

_NUMBERS: Final[Mapping[str, Callable[[str], float]]] = {"bpm": int, "seed": int, "intensity": float}
_NUMBER: Final = re.compile(r"[0-9.eE+-]{1,32}")
_NOT_OURS: Final = frozenset({"token"})
"""Who may listen is decided elsewhere."""


def spec_from_query(query_string: str) -> StreamSpec:
    """The stream that `key=D&mode=dorian&bpm=60` names; absent fields take their defaults.

    Raises:
        FieldError: a field is unknown, given twice, or has a value that cannot be used.
        ValueError: more than 32 fields.
    """
    params: dict[str, Any] = {}
    for name, values in parse_qs(query_string, keep_blank_values=True, max_num_fields=32).items():
        if name in _NOT_OURS:
            continue
        if name not in SPEC_FIELDS:
            # The name is a stranger's: it must not fill an answer or a log.
            raise FieldError(
                name if len(name) <= 40 else shorten(name, 40), values[0], f"only {', '.join(SPEC_FIELDS)}"
            )
        if len(values) > 1:
            raise FieldError(name, values, "one value")
        params[name] = _number(name, values[0]) if name in _NUMBERS else values[0]
    return StreamSpec.from_params(params)


def query_from_spec(spec: StreamSpec) -> str:
    """The query that `spec_from_query` reads back."""
    return urlencode(spec.to_params())


def _number(name: str, text: str) -> float | str:
    # Python takes "7_0", " 70" and digits of other scripts for numbers; JSON, in which streams are named too, does not.
    if not _NUMBER.fullmatch(text):
        return text
    try:
        return _NUMBERS[name](text)
    except ValueError:
        # The spec's own check names the range.
        return text
