"""Python modules of a source tree: what each is marked as, imports and does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

IO_LIBRARIES = frozenset(
    {
        "asyncio", "click", "getpass", "httpx", "kubernetes", "litestar", "logging", "multiprocessing", "nats",
        "opentelemetry", "os", "prometheus_client", "psutil", "requests", "secrets", "select", "selectors", "shutil",
        "socket", "structlog", "subprocess", "tempfile", "time", "urllib3", "uvicorn", "uvloop", "websockets",
    }
)  # fmt: skip
"""Libraries whose import is I/O: network, processes, files, clocks, environment, logs, metrics, true randomness."""
IO_NAMES = {
    "datetime": {"now", "today", "utcnow"},
    # `random.Random(seed)` is a pure generator; the module's functions share one that the system seeds.
    "random": {"choice", "expovariate", "gauss", "random", "randint", "sample", "seed", "shuffle", "uniform"},
    "signal": {"alarm", "pause", "raise_signal", "set_wakeup_fd", "signal"},
    "sys": {"argv", "exit", "stderr", "stdin", "stdout"},
    "uuid": {"uuid1", "uuid4"},
}
"""Names of libraries that have pure parts too."""
IO_BUILTINS = frozenset({"breakpoint", "input", "open", "print"})
IO_METHODS = frozenset(
    {
        "chmod", "cwd", "exists", "expanduser", "glob", "home", "is_dir", "is_file", "iterdir", "mkdir",
        "read_bytes", "read_text", "rglob", "rmdir", "savefig", "stat",
        "symlink_to", "unlink", "write_bytes", "write_text",
    }
)  # fmt: skip
"""Methods of pathlib's paths that look at files; no other class of this project may have a method of such a name."""

Marker = Literal["pure", "shell", "both", "none"]


@dataclass(frozen=True)
class Import:
    """One import.

    Attributes:
        module: as written: `services.edge` of `from services import edge`, else the module that names come from.
        target: the module of this tree that defines what is imported; None: a module of another tree.
        line: where.
        lazy: inside a function.
        for_types: inside `if TYPE_CHECKING`.
    """

    module: str
    target: str | None
    line: int
    lazy: bool
    for_types: bool


@dataclass(frozen=True)
class Module:
    """One module.

    Attributes:
        name: dotted.
        is_package: it is a folder's `__init__.py`.
    """

    name: str
    path: Path
    tree: ast.Module
    is_package: bool

    @property
    def folder(self) -> str:
        """The package that the module stands in; a package stands in itself."""
        return self.name if self.is_package else self.name.rpartition(".")[0]

    @cached_property
    def marker(self) -> Marker:
        """What the first line of the docstring says."""
        first = (ast.get_docstring(self.tree) or "").partition("\n")[0]
        pure, shell = re.search(r"\bPure\b", first) is not None, "(shell" in first
        return "both" if pure and shell else "pure" if pure else "shell" if shell else "none"

    @property
    def is_empty(self) -> bool:
        """It holds a docstring, imports and `__all__` at most."""
        return all(
            isinstance(node, ast.Import | ast.ImportFrom)
            or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
            or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
            for node in self.tree.body
        )

    @cached_property
    def io(self) -> list[str]:
        """I/O that the module does itself: `time (line 3)`, imports for types aside."""
        found = {}
        ignored = _below(self.tree, lambda node: isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for node in ast.walk(self.tree):
            if id(node) not in ignored:
                for name in _io(node):
                    found.setdefault(name, f"{name} (line {getattr(node, 'lineno', 0)})")
        return sorted(found.values())


class SourceTree:
    """All modules below a folder.

    Args:
        root: the folder that is the top package: `…/services`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: dict[str, Module] = {}
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            self.modules[name] = Module(name, path, ast.parse(path.read_text(), str(path)), is_package)
        self.imports = {name: list(self._imports(module)) for name, module in self.modules.items()}

    def where(self, name: str) -> str:
        """A module as people see it: `services/edge/app.py`."""
        return str(self.modules[name].path.relative_to(self.root.parent))

    def dependencies(self, name: str) -> set[str]:
        """Modules of this tree that a module imports, anywhere and for any reason."""
        return {each.target for each in self.imports[name] if each.target is not None and each.target != name}

    def _imports(self, module: Module) -> Iterator[Import]:
        functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        lazy = _below(module.tree, lambda node: isinstance(node, functions))
        types = _below(module.tree, lambda node: isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for node in ast.walk(module.tree):
            flags = (id(node) in lazy, id(node) in types)
            if isinstance(node, ast.Import):
                for alias in node.names:
                    target = alias.name if alias.name in self.modules else None
                    yield Import(alias.name, target, node.lineno, *flags)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module.path}:{node.lineno}: relative imports hide what is imported"
                assert node.module is not None
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    written = whole if node.module == self.root.name else node.module
                    yield Import(written, self._defining(node.module, alias.name), node.lineno, *flags)

    def _defining(self, module: str, name: str) -> str | None:
        """The module that defines `name`, where `module` is a package that only passes it on."""
        if f"{module}.{name}" in self.modules:
            return f"{module}.{name}"
        found = self.modules.get(module)
        if found is None:
            return None
        if found.is_package:
            for node in found.tree.body:
                if isinstance(node, ast.ImportFrom) and node.module:
                    for alias in node.names:
                        if (alias.asname or alias.name) == name:
                            return self._defining(node.module, alias.name)
        return module


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Sets of nodes that reach each other (strongly connected components of more than one node)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in number:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], number[other])
        if lowest[node] == number[node]:
            circle = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(circle) > 1:
                found.append(sorted(circle))

    for node in sorted(graph):
        if node not in number:
            visit(node)
    return found


def _below(tree: ast.Module, wanted: object) -> set[int]:
    """Ids of all nodes below those that `wanted` picks."""
    assert callable(wanted)
    return {id(child) for node in ast.walk(tree) if wanted(node) for child in ast.walk(node)}


def _io(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names if alias.name.partition(".")[0] in IO_LIBRARIES)
        case ast.ImportFrom(module=str(module), names=names):
            if module.partition(".")[0] in IO_LIBRARIES:
                yield module
            yield from (f"{module}.{alias.name}" for alias in names if alias.name in IO_NAMES.get(module, ()))
        case ast.Call(func=ast.Name(id=name)) if name in IO_BUILTINS:
            yield f"{name}()"
        case ast.Attribute(value=ast.Name(id=owner), attr=name) if name in IO_NAMES.get(owner, ()):
            yield f"{owner}.{name}"
        case ast.Call(func=ast.Attribute(attr="open", value=owner), args=arguments):
            # Codecs are opened in memory: `av.open(buffer)`, `codec.open()`.
            if arguments and ast.unparse(owner) != "av":
                yield ".open()"
        case ast.Call(func=ast.Attribute(attr=name)) if name in IO_METHODS:
            yield f".{name}()"
        case ast.Await():
            yield "await"
