"""Rendered objects in a short, stable form, and what differs between two of them. Pure.

The form of an object is the object, but
  - a list of things with names becomes a mapping by name, with a digest of the names' order under "#";
  - a text of several lines, and a rule of Prometheus, becomes a digest;
  - random values become "random", the version of the chart becomes "VERSION".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

RANDOM_CHECKSUMS = ("checksum/secret", "checksum/nats-auth", "checksum/nats-tls", "checksum/auth", "checksum/tls")
"""Annotations that depend on generated passwords, keys and certificates."""


def digest(value: Any) -> str:
    """Twelve hexadecimal digits of SHA-256."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def canonical(objects: Iterable[Mapping[str, Any]], version: str) -> dict[str, Any]:
    """{"kind name": form}, sorted. `version` is the chart's."""
    forms = {f"{each['kind']} {each['metadata']['name']}": _object(each, version) for each in objects}
    return dict(sorted(forms.items()))


def _object(each: Mapping[str, Any], version: str) -> Any:
    if each["kind"] == "Secret":
        each = {**each, "data": dict.fromkeys(each["data"], "random")}
    return _form(each, re.compile(rf"\b{re.escape(version)}$"))


def _form(value: Any, version: re.Pattern[str]) -> Any:
    match value:
        case {"alert": _} | {"record": _}:
            return digest(value)
        case dict():
            return {k: "random" if k in RANDOM_CHECKSUMS else _form(v, version) for k, v in value.items()}
        case list() if value and all(isinstance(item, dict) for item in value):
            names = [item.get("name", item.get("alert", item.get("record"))) for item in value]
            if None in names or len(set(names)) < len(names):
                return [_form(item, version) for item in value]
            rest = ({k: v for k, v in item.items() if k != "name"} for item in value)
            return {"#": digest(names), **{n: _form(r, version) for n, r in zip(names, rest, strict=True)}}
        case list():
            return [_form(item, version) for item in value]
        case str() if "\n" in value:
            return f"{len(value.splitlines())} lines, {digest(value)}"
        case str():
            return version.sub("VERSION", value)
        case None:
            return "null"
    return value


def patch(old: Any, new: Any) -> Any:
    """What makes `new` of `old`: a JSON merge patch, in which null removes."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    gone: dict[str, Any] = dict.fromkeys(sorted(old.keys() - new.keys()))
    return gone | {
        k: patch(old[k], v) if k in old else v for k, v in new.items() if k not in old or not same(old[k], v)
    }


def same(a: Any, b: Any) -> bool:
    """Equal, with types: 1, "1" and true are three things."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def differences(golden: Any, now: Any, path: str = "") -> Iterator[str]:
    """A line for each place where two forms differ."""
    if isinstance(golden, dict) and isinstance(now, dict):
        for name in sorted(golden.keys() | now.keys()):
            here = f"{path} / {name}" if path else name
            if name not in now:
                yield f"{here}: gone; golden {_short(golden[name])}"
            elif name not in golden:
                yield f"{here}: new: {_short(now[name])}"
            else:
                yield from differences(golden[name], now[name], here)
    elif not same(golden, now):
        yield f"{path}: golden {_short(golden)}, rendered {_short(now)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 300 else f"{text[:300]}…"


def text_of(cases: Mapping[str, Mapping[str, Any]]) -> str:
    """JSON with one line for each object of each case."""
    parts = []
    for case, objects in cases.items():
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(form)}" for name, form in objects.items())
        parts.append(f" {json.dumps(case)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
