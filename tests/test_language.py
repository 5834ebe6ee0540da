"""Words that the house style replaces: a reader should never have to read a sentence twice."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
PRIVATE = re.compile(
    r"\b(he|him|his|whoever|whomever|whosoever|somebody|nobody|everybody|anybody|hungry|so long as|newcomers?)\b",
    re.IGNORECASE,
)
"""A listener, client, edge or worker is "it"; a clause is no subject (CONTRIBUTING.md, Language)."""
FOLDERS = ("services", "charts", "docs", "k8s", "loadtests", "benchmarks", "scripts", "tests", ".ci")
SUFFIXES = ("", ".py", ".js", ".html", ".css", ".md", ".yaml", ".tpl", ".txt", ".conf", ".c", ".go")
EXCEPTIONS = (
    "tests/guide/scripts/",  # the guide's own words
    "tests/test_language.py",
    "benchmarks/fanout/icecast.py",  # a user name of Unix
)


def pages() -> list[Path]:
    listed = subprocess.run(
        ["git", "-C", REPO, "ls-files"],  # noqa: S607 - the git of the checkout
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return [
        REPO / name
        for name in listed
        if (name.startswith(tuple(f"{folder}/" for folder in FOLDERS)) or "/" not in name)
        and Path(name).suffix in SUFFIXES
        and name != "LICENSE"
        and not name.startswith(EXCEPTIONS)
        and (REPO / name).is_file()
    ]


def private_words(text: str) -> list[tuple[int, str]]:
    """Line numbers and lines of `text` that hold a replaced word."""
    # A name of code may hold one: `nobody-7` as data, `test_nobody_...` as a name would not match the word boundary.
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if PRIVATE.search(line)]


def test_no_page_or_source_holds_a_word_that_the_house_style_replaces() -> None:
    if not (REPO / ".git").exists():
        pytest.skip("no git checkout: the list of files is git's")
    found = [
        f"{path.relative_to(REPO)}:{number}: {line}"
        for path in pages()
        for number, line in private_words(path.read_text(errors="replace"))
    ]
    assert found == [], "\n".join(found)


def test_a_replaced_word_would_be_found() -> None:
    assert private_words("fine\nWhoever connects is told.\n# he waits") == [
        (2, "Whoever connects is told."),
        (3, "# he waits"),
    ]
    assert private_words("the listener waits; her_hungry_name = 1") == []
