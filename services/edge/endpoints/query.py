"""Pure: a stream as the query of a URL."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, urlencode

from services.contract.errors import FieldError, shorten
from services.contract.spec import LEVEL_NAMES, SPEC_FIELDS, StreamSpec

_NUMBERS: Final[Mapping[str, Callable[[str], float]]] = {
    "bpm": int,
    "seed": int,
    "intensity": float,
    "brightness": float,
    "density": float,
}
_LEVEL_FIELDS: Final = {f"level.{name}": name for name in LEVEL_NAMES}
"""Names of a query for the layers' levels: `level.pad=0.5`."""
_FIELDS: Final = (*(name for name in SPEC_FIELDS if name != "levels"), *_LEVEL_FIELDS)
_NUMBER: Final = re.compile(r"[0-9.eE+-]{1,32}")
_TOKEN: Final = "token"  # noqa: S105 - the name of a field
_MAX_FIELDS: Final = 32
_MAX_NAME_CHARS: Final = 40


def spec_from_query(query_string: str) -> StreamSpec:
    """The stream that `key=D&bpm=60&level.pad=0.5` names; absent fields take their defaults, a token is skipped.

    The seed is a number or a title, `seed=tranquil-pond`.

    Raises:
        FieldError: a field is unknown, given twice, or has a value that cannot be used.
        ValueError: there are more than 32 fields.
    """
    params: dict[str, Any] = {}
    levels: dict[str, float | str] = {}
    for name, values in parse_qs(query_string, keep_blank_values=True, max_num_fields=_MAX_FIELDS).items():
        if name == _TOKEN:
            continue
        if name not in _FIELDS:
            # Shortened, because the name goes into the answer and the log.
            shown = name if len(name) <= _MAX_NAME_CHARS else shorten(name, _MAX_NAME_CHARS)
            raise FieldError(shown, values[0], f"only {', '.join(_FIELDS)}")
        if len(values) > 1:
            raise FieldError(name, values, "one value")
        if name in _LEVEL_FIELDS:
            levels[_LEVEL_FIELDS[name]] = _number(float, values[0])
        else:
            params[name] = _number(_NUMBERS[name], values[0]) if name in _NUMBERS else values[0]
    return StreamSpec.from_params({**params, "levels": levels})


def query_from_spec(spec: StreamSpec) -> str:
    """The query that `spec_from_query` reads back."""
    params = spec.to_request()
    levels = params.pop("levels", {})
    return urlencode({**params, **{f"level.{layer}": level for layer, level in levels.items()}})


def title_of(spec: StreamSpec) -> str:
    """The stream in words, for people: "Tranquil Pond (C dorian, 70 bpm, intensity 0.5, drift, no pad)"."""
    words = [f"{spec.key} {spec.mode}", f"{spec.bpm} bpm", f"intensity {spec.intensity:g}", spec.preset]
    return f"{spec.title} ({', '.join(words + spec.options_in_words())})"


def _number(read: Callable[[str], float], text: str) -> float | str:
    # Python reads "7_0", " 70" and digits of other scripts as numbers; JSON, which names streams too, does not.
    if not _NUMBER.fullmatch(text):
        return text
    try:
        return read(text)
    except ValueError:
        # Left as text: the check of the spec names the range.
        return text
