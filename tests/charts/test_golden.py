"""A change of a template changes the rendered objects that it is meant to change, and no others.

golden/objects.json holds the objects of values.yaml, and of each profile and variant what differs from them. After a
change that is meant, write it again and read its diff:

    AURALIS_WRITE_GOLDEN=1 .venv/bin/python -m pytest tests/charts/test_golden.py
"""

from __future__ import annotations

import copy
import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.canonical import canonical, differences, patch, text_of
from tests.charts.support import CHART, PROFILES, VARIANTS, render

GOLDEN = Path(__file__).parent / "golden" / "objects.json"
BASE = "values.yaml"
CASES = {
    BASE: ("", "as it is"),
    **{f"profile {profile}": (profile, "as it is") for profile in PROFILES[1:]},
    **{variant: ("", variant) for variant in VARIANTS if variant != "as it is"},
}


@functools.cache
def objects(case: str) -> dict[str, Any]:
    """The objects of a case in their short form."""
    profile, variant = CASES[case]
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    return canonical(render(VARIANTS[variant], profile=profile).objects, version)


def told(case: str) -> dict[str, Any]:
    """What the golden file says about a case."""
    found: dict[str, Any] = objects(case) if case == BASE else patch(objects(BASE), objects(case))
    return found


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    if os.environ.get("AURALIS_WRITE_GOLDEN"):
        GOLDEN.write_text(text_of({case: told(case) for case in CASES}))
    found: dict[str, Any] = json.loads(GOLDEN.read_text())
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_case_renders_the_golden_objects(case: str, golden: dict[str, Any]) -> None:
    found = list(differences(golden[case], told(case)))
    assert not found, "\n".join([*found, "if this is meant: run with AURALIS_WRITE_GOLDEN=1 and read the diff"])


def test_the_golden_file_holds_no_other_case(golden: dict[str, Any]) -> None:
    assert list(golden) == list(CASES)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from leaves(each, (*path, key))
    if not inner and path:
        yield path


def changed(each: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    result = copy.deepcopy(each)
    place: Any = result
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return result


def test_any_changed_value_is_reported_with_its_path() -> None:
    random = ("checksum/", "Secret")
    for each in render(VARIANTS["everything"]).objects:
        before = canonical([each], "0")
        for path in leaves(each):
            if path[-1] in ("kind", "name") or each["kind"] in random or str(path[-1]).startswith(random):
                continue
            after = canonical([changed(each, path, "another")], "0")
            assert list(differences(before, after)), (each["kind"], path)
    (edge,) = (
        each for each in render().objects if (each["kind"], each["metadata"]["name"]) == ("Deployment", "auralis-edge")
    )
    other = changed(edge, ("spec", "replicas"), "2")
    assert list(differences(canonical([edge], "0"), canonical([other], "0"))) == [
        'Deployment auralis-edge / spec / replicas: golden 2, rendered "2"'
    ]


def test_changes_of_order_and_of_objects_are_reported() -> None:
    def form(*names: str) -> dict[str, Any]:
        return canonical(
            [{"kind": "Pod", "metadata": {"name": "a"}, "env": [{"name": n, "value": n} for n in names]}], "0"
        )

    (order,) = differences(form("x", "y"), form("y", "x"))
    assert order.startswith("Pod a / env / #: golden")
    assert list(differences(form("x"), {}))
    assert list(differences({}, form("x")))
    assert [line.split(":")[0] for line in differences(form("x", "y"), form("x"))] == [
        "Pod a / env / #",
        "Pod a / env / y",
    ]
    assert patch(form("x"), form("x")) == {}
    assert patch(form("x", "y"), form("x"))["Pod a"]["env"]["y"] is None
    assert patch(form("x"), {}) == {"Pod a": None}
