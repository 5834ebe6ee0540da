"""docs/reliability.md: each row has its test, each test its row, and each promise of ARCHITECTURE.md both."""

from __future__ import annotations

import re

from tests.faults.table import BEGIN, END, PAGE, rows, written
from tests.support.system import REPO

TESTS = {name: row for found in rows().values() for name, row in found.items()}
TABLE = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


def test_each_fault_has_a_row_and_each_row_a_test() -> None:
    assert re.findall(r"\| `(test_\w+)` \|$", TABLE, re.MULTILINE) == list(ordered())


def ordered() -> list[str]:
    """The tests in the order of the headings in the page."""
    made = written(f"{BEGIN}{END}", {"rows": {}, "machine": {"system": "", "processor": ""}})
    return re.findall(r"\| `(test_\w+)` \|$", made, re.MULTILINE)


def test_the_rows_say_what_the_tests_say() -> None:
    for name, row in TESTS.items():
        assert f"| {row.fault} |" in TABLE, name
        assert f"| {row.does} | `{name}` |" in TABLE, name


def test_each_row_has_been_measured() -> None:
    assert "not measured" not in TABLE


def test_each_promise_of_the_architecture_is_tested() -> None:
    text = (REPO / "ARCHITECTURE.md").read_text().partition("## When things break")[2].partition("\n## ")[0]
    promises = re.findall(r"^\| ([^|]+) \|", text, re.MULTILINE)[1:]
    assert len(promises) >= 8
    assert sorted(set(promises)) == sorted({row.promise for row in TESTS.values() if row.promise})


def test_every_test_of_a_fault_is_in_the_table() -> None:
    assert set(ordered()) == set(TESTS)
    assert len(TESTS) >= 25
