"""Hash of the program text that a module reaches (shell: reads source files).

Two builds whose hashes are equal compute the same. The hash follows imports, so that no list is kept by hand, and it
covers syntax trees, so that comments, docstrings and layout do not count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

SERVICES: Final = Path(__file__).parents[2]
"""The `services` package that is running."""

_NOT_DATA: Final = frozenset({".py", ".pyc", ".pyi", ".md", ".typed"})
"""Endings of files beside a module that it does not compute with."""


def hash_reached(modules: Sequence[str], root: Path = SERVICES) -> str:
    """SHA-256, in hexadecimal, of all modules and data files that `modules` reach.

    Args:
        modules: names below `services`, for example "services.synthesis.dsp.voices".
        root: folder of the package `services`; another one for tests.

    Raises:
        ModuleNotFoundError: one of `modules` is not below `root`.
    """
    digest = hashlib.sha256()
    reached = reach(modules, root)
    for name, path in reached.items():
        digest.update(name.encode() + b"\0" + _tree_digest(path.read_bytes()))
    for path in data_files(reached.values()):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def reach(modules: Sequence[str], root: Path = SERVICES) -> dict[str, Path]:
    """`modules` and all modules below `services` that they import, directly or not; sorted by name.

    Imports inside of functions count. So does the `__init__` of every package on the way: Python runs it.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    for name in waiting:
        if _file_of(name, root) is None:
            raise ModuleNotFoundError(f"{name}: there is no such module in {root}")
    while waiting:
        name = waiting.pop()
        path = _file_of(name, root)
        if path is None or name in found:
            continue
        found[name] = path
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        waiting += _imported(path.read_bytes())
    return dict(sorted(found.items()))


def data_files(paths: Iterable[Path]) -> list[Path]:
    """Files beside the modules at `paths` that hold neither Python nor documentation, such as tables; sorted."""
    folders = {path.parent for path in paths if path.name != "__init__.py"}
    return sorted(
        path
        for folder in folders
        for path in folder.iterdir()
        if path.is_file() and path.suffix not in _NOT_DATA and not path.name.startswith(".")
    )


def _file_of(module: str, root: Path) -> Path | None:
    """The file of `module`; None for what is not a module below `services`."""
    first, *rest = module.split(".")
    if first != "services":
        return None
    path = root.joinpath(*rest)
    candidates = (path / "__init__.py", path.with_suffix(".py") if rest else path / "__init__.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@cache
def _imported(source: bytes) -> tuple[str, ...]:
    """Names that a module imports; of `from package import name`, both the package and `package.name`."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


@cache
def _tree_digest(source: bytes) -> bytes:
    """Hash of a module's syntax tree."""
    return hashlib.sha256("\0".join(_words(ast.parse(source))).encode()).digest()


def _words(value: object) -> Iterator[str]:
    """A syntax tree as a sequence of words.

    `ast.dump` would do, but what it writes for empty fields differs between versions of Python, and a fleet may have
    two of them.
    """
    if isinstance(value, ast.AST):
        yield type(value).__name__
        for name, part in ast.iter_fields(value):
            if part is not None and part != []:
                yield name
                yield from _words(part)
        yield ")"
    elif isinstance(value, list):
        for part in value:
            if not _is_prose(part):
                yield from _words(part)
        yield "]"
    else:
        yield repr(value)


def _is_prose(node: object) -> bool:
    """Whether `node` is a string that stands alone: a docstring, of whatever it follows."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
