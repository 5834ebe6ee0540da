"""Who may import whom. A layer that only holds by custom does not hold."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
SERVICES = REPO / "services"

SHELL_LIBRARIES = frozenset({"asyncio", "nats", "litestar", "uvicorn", "prometheus_client"})
"""What does I/O or keeps time: only shells may know it."""
MORE_IO = frozenset({"socket", "subprocess", "multiprocessing", "websockets", "httpx", "requests", "psutil"})

DRAWING = ("services.local.render.plot", "services.local.render.score_view")
"""Modules of `auralis render --plot`, which read the score: whoever imports them does it when it draws."""

PURE = (
    "contract/*.py",
    "runtime/slope.py",
    "runtime/health.py",
    "synthesis/score/*.py",
    "synthesis/dsp/*.py",
    "synthesis/batching.py",
    "synthesis/render/renderer.py",
    "edge/listener/listener.py",
    "edge/stream/ring.py",
    "edge/listener/tiers.py",
    "edge/listener/payloads.py",
    "edge/stream/demand.py",
    "telemetry/alerting/alerts.py",
    "telemetry/scaling/autoscale.py",
    "telemetry/scaling/deletion_cost.py",
    "telemetry/exposition/exposition.py",
    "telemetry/fleet/fleet.py",
    "telemetry/exposition/histograms.py",
    "telemetry/fleet/fleet_history.py",
    "telemetry/fleet/instance_history.py",
    "telemetry/fleet/report.py",
    "client/playout.py",
    "client/session.py",
    "client/statistics.py",
    "client/timeline.py",
    "loadtest/frames.py",
    "loadtest/messages.py",
    "loadtest/plan.py",
    "loadtest/report.py",
    "loadtest/tally.py",
    "local/doctor/findings.py",
    "local/processes/log_lines.py",
    "local/processes/restarts.py",
    "local/soak/report.py",
)
"""The core: the same result for the same arguments, whatever the time and the network."""

MAY_IMPORT_ANY_SERVICE = ("cli.py", "main.py", "local", "simulation")
"""What starts the services knows them, and what simulates them."""


@dataclass(frozen=True)
class Import:
    """One imported module, and where."""

    module: str
    path: Path
    line: int
    lazy: bool

    def __str__(self) -> str:
        return f"{self.path.relative_to(REPO)}:{self.line} imports {self.module}"


def imports(path: Path) -> Iterator[Import]:
    tree = ast.parse(path.read_text(), str(path))
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inside.update(id(child) for child in ast.walk(node))
    for node in ast.walk(tree):
        lazy = id(node) in inside
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, path, node.lineno, lazy)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide the layer"
            assert node.module is not None
            for alias in node.names:
                # `from services import edge` is an import of services.edge.
                yield Import(
                    f"{node.module}.{alias.name}" if node.module == "services" else node.module,
                    path,
                    node.lineno,
                    lazy,
                )


def files(pattern: str = "**/*.py") -> list[Path]:
    return sorted(SERVICES.glob(pattern))


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def test_the_contract_imports_only_the_standard_library_and_itself() -> None:
    wrong = [
        str(found)
        for path in files("contract/**/*.py")
        for found in imports(path)
        if found.module.partition(".")[0] not in sys.stdlib_module_names
        and not is_in(found.module, "services.contract")
    ]
    assert wrong == []


def test_the_runtime_knows_no_service_and_no_torch() -> None:
    wrong = [
        str(found)
        for path in files("runtime/**/*.py")
        for found in imports(path)
        if is_in(found.module, "torch")
        or (
            is_in(found.module, "services")
            and not is_in(found.module, "services.runtime")
            and not is_in(found.module, "services.contract")
        )
    ]
    assert wrong == []


def test_a_service_imports_only_the_contract_the_runtime_and_itself() -> None:
    wrong = []
    for path in files():
        owner = path.relative_to(SERVICES).parts[0]
        if owner in (*MAY_IMPORT_ANY_SERVICE, "contract", "runtime", "__init__.py"):
            continue
        allowed = ("services.contract", "services.runtime", f"services.{owner.removesuffix('.py')}")
        wrong += [
            str(found)
            for found in imports(path)
            if is_in(found.module, "services") and not any(is_in(found.module, package) for package in allowed)
        ]
    assert wrong == []


def test_the_command_line_imports_services_only_when_it_runs_them() -> None:
    # `auralis --help` must not wait for torch, nor for what draws.
    heavy = ("torch", *(f"services.{name}" for name in ("synthesis", "edge", "telemetry")), *DRAWING)
    drawing = {SERVICES.parent / f"{module.replace('.', '/')}.py" for module in DRAWING}
    assert all(path.is_file() for path in drawing)
    wrong = [
        str(found)
        for path in [*files("cli.py"), *files("local/**/*.py")]
        if path not in drawing
        for found in imports(path)
        if not found.lazy and any(is_in(found.module, module) for module in heavy)
    ]
    assert wrong == []


@pytest.mark.parametrize("pattern", PURE)
def test_the_core_does_no_io(pattern: str) -> None:
    paths = files(pattern)
    assert paths, f"services/{pattern} does not exist; change the list with the layout"
    wrong = [
        str(found)
        for path in paths
        for found in imports(path)
        if found.module.partition(".")[0] in SHELL_LIBRARIES | MORE_IO
    ]
    assert wrong == []


def test_only_synthesis_imports_torch() -> None:
    wrong = [
        str(found)
        for path in files()
        if path.relative_to(SERVICES).parts[0] not in ("synthesis", *MAY_IMPORT_ANY_SERVICE)
        for found in imports(path)
        if is_in(found.module, "torch")
    ]
    assert wrong == []


def test_a_wrong_import_would_be_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "import asyncio, os.path\nfrom services import edge\nfrom torch.nn import Module\n"
        "def later():\n    import nats.aio.client\n"
    )
    assert [
        (found.module, found.line, found.lazy) for found in sorted(imports(module), key=lambda each: each.line)
    ] == [
        ("asyncio", 1, False),
        ("os.path", 1, False),
        ("services.edge", 2, False),
        ("torch.nn", 3, False),
        ("nats.aio.client", 5, True),
    ]
    assert not is_in("services.edges", "services.edge")
