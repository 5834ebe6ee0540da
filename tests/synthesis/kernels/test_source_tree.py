"""Hashes of the program text that a module reaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.synthesis.kernels.source_tree import hash_reached, reach

FILES = {
    "__init__.py": "",
    "a/__init__.py": "",
    "a/first.py": "import math\nfrom services.a import second\n",
    "a/second.py": "def later():\n    from services.b.third import VALUE\n    return VALUE\n",
    "a/apart.py": "import services.a.first\n",
    "b/__init__.py": "FLAG = 1\n",
    "b/third.py": '"""Prose."""\nVALUE = 1\n"""More of it."""\n',
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "services" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "services"


def test_imports_are_followed_also_those_inside_of_functions_and_packages_on_the_way(root: Path) -> None:
    found = reach(["services.a.first"], root)
    assert list(found) == [
        "services",
        "services.a",
        "services.a.first",
        "services.a.second",
        "services.b",
        "services.b.third",
    ]
    assert found["services.b"] == root / "b" / "__init__.py"


def test_a_module_that_does_not_exist_is_an_error_that_names_it(root: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"services\.a\.fourth"):
        reach(["services.a.fourth"], root)


@pytest.mark.parametrize(
    ("name", "text", "counts"),
    [
        ("b/third.py", "VALUE = 2\n", True),
        ("b/third.py", 'VALUE = "1"\n', True),
        ("b/third.py", "VALUE = 1  # a remark\n", False),
        ("b/third.py", '"""Other prose."""\n\nVALUE = (1)\n', False),
        ("b/__init__.py", "FLAG = 2\n", True),
        ("a/apart.py", "OTHER = 2\n", False),
        ("b/table.csv", "1,2\n", True),
        ("b/README.md", "words\n", False),
    ],
)
def test_what_is_computed_counts_and_prose_does_not(root: Path, name: str, text: str, *, counts: bool) -> None:
    before = hash_reached(["services.a.first"], root)
    (root / name).write_text(text)
    assert (hash_reached(["services.a.first"], root) != before) == counts
