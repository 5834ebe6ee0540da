"""Adds a comment to each NAME==VERSION line: the images that contain the package. Reads stdin, writes stdout."""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
IMAGES = ("edge", "synthesis", "telemetry")


def closure(wanted: list[str]) -> set[str]:
    """Names of all packages that `wanted` requires, by the metadata of the packages installed here."""
    found: set[str] = set()
    waiting = [Requirement(each) for each in wanted]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        each = waiting.pop()
        name = canonicalize_name(each.name)
        key = name, frozenset(each.extras)
        if key in seen:
            continue
        seen.add(key)
        found.add(name)
        try:
            needed = requires(name) or []
        except PackageNotFoundError:
            continue  # required on another system only
        for text in needed:
            inner = Requirement(text)
            environments = [{"extra": extra} for extra in each.extras] or [{"extra": ""}]
            if inner.marker is None or any(inner.marker.evaluate(environment) for environment in environments):
                waiting.append(inner)
    return found


def images() -> dict[str, set[str]]:
    """Package -> the images that contain it."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    found: dict[str, set[str]] = {}
    for image in IMAGES:
        for name in closure(project["dependencies"] + project["optional-dependencies"][image]):
            found.setdefault(name, set()).add(image)
    return found


if __name__ == "__main__":
    marks = images()
    for line in sys.stdin:
        pin = line.strip()
        having = " ".join(sorted(marks.get(canonicalize_name(pin.partition("==")[0]), ())))
        sys.stdout.write(f"{pin}  # {having}\n" if having else f"{pin}\n")
