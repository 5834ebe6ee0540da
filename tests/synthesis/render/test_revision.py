"""The name of the music follows everything that makes it, and nothing else."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.synthesis.kernels.source_tree import SERVICES, data_files, reach
from services.synthesis.render.revision import SOUND_ROOTS, SOUND_VERSION, render_revision

REACHED = tuple(reach(SOUND_ROOTS))


def revision_of(root: Path) -> str:
    render_revision.cache_clear()
    return render_revision(root)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of all source files; each test leaves it as it was."""
    root = tmp_path_factory.mktemp("copy") / "services"
    shutil.copytree(SERVICES, root, ignore=shutil.ignore_patterns("__pycache__"))
    yield root
    render_revision.cache_clear()


def changed(copy: Path, path: Path, change: Callable[[str], str]) -> str:
    """The revision while a file of the copy is changed."""
    before = path.read_text()
    after = change(before)
    assert after != before, f"{path.name}: the change changes nothing"
    ast.parse(after)
    path.write_text(after)
    try:
        return revision_of(copy)
    finally:
        path.write_text(before)


def with_other_prose(source: str) -> str:
    """The source with another comment, another docstring of the module and one more of everything that has one."""
    lines = source.splitlines(keepends=True)
    tree = ast.parse(source)
    documented = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
    ]
    for node in sorted(documented, key=lambda each: -each.body[0].lineno):
        prose = node.body[0]
        indent = " " * prose.col_offset
        assert prose.end_lineno is not None
        lines[prose.lineno - 1 : prose.end_lineno] = [f'{indent}"""Other words."""\n']
    return "".join(lines) + "\n# Another comment.\n"


def with_another_number(source: str) -> str:
    """The source with its last number one higher; without numbers, with one more statement."""
    numbers = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.end_lineno == node.lineno
    ]
    if not numbers:
        return source + "\n_ADDED = 1\n"
    last = max(numbers, key=lambda node: (node.lineno, node.col_offset))
    lines = source.splitlines(keepends=True)
    line = lines[last.lineno - 1].encode()
    assert isinstance(last.value, int | float)
    changed_line = line[: last.col_offset] + repr(last.value + 1).encode() + line[last.end_col_offset :]
    lines[last.lineno - 1] = changed_line.decode()
    return "".join(lines)


def test_the_revision_fits_a_subject_and_begins_with_the_sound_version() -> None:
    revision = render_revision()
    assert revision.startswith(f"s{SOUND_VERSION}-")
    assert 1 <= len(revision) <= 16
    assert set(revision) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_a_copy_has_the_same_revision_wherever_it_lies(copy: Path) -> None:
    assert revision_of(copy) == revision_of(SERVICES)


def test_all_that_makes_sound_is_reached() -> None:
    package = SERVICES / "synthesis"
    makes_sound = [
        "synthesis." + ".".join(path.relative_to(package).with_suffix("").parts)
        for folder in ("dsp", "score", "sound", "packing")
        for path in sorted((package / folder).glob("[!_]*.py"))
    ]
    more = ["synthesis.kernels.graphs", "synthesis.kernels.compile", "synthesis.render.renderer", "contract.timebase"]
    assert {f"services.{name}" for name in (*makes_sound, *more)} <= set(REACHED)


@pytest.mark.parametrize("module", REACHED)
def test_a_changed_number_changes_the_revision_and_other_prose_does_not(copy: Path, module: str) -> None:
    path = reach(SOUND_ROOTS, copy)[module]
    before = revision_of(copy)
    assert changed(copy, path, with_another_number) != before
    assert changed(copy, path, lambda source: source + "\n_ADDED = 1\n") != before
    assert changed(copy, path, with_other_prose) == before
    assert revision_of(copy) == before


def test_half_the_mix_in_a_kernels_graph_is_another_revision(copy: Path) -> None:
    graphs = copy / "synthesis" / "kernels" / "graphs.py"
    halved = changed(copy, graphs, lambda source: source.replace("        mixed = ", "        mixed = 0.5 * "))
    assert halved != revision_of(copy)


def test_a_table_beside_a_module_counts_by_its_bytes(copy: Path) -> None:
    before = revision_of(copy)
    table = copy / "synthesis" / "sound" / "table.npy"
    seen = {before}
    try:
        for content in (b"1", b"2"):
            table.write_bytes(content)
            assert table in data_files(reach(SOUND_ROOTS, copy).values())
            seen.add(revision_of(copy))
    finally:
        table.unlink()
    assert len(seen) == 3
    assert revision_of(copy) == before


def test_what_the_renderer_does_not_reach_does_not_count(copy: Path) -> None:
    before = revision_of(copy)
    for name in ("synthesis/worker.py", "synthesis/render/offline.py", "edge/stream/ring.py"):
        path = copy / name
        assert changed(copy, path, lambda source: source + "\n_ADDED = 1\n") == before
