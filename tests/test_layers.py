"""Which module may do I/O, who may import whom, and how large files and folders may be.

A layer that only holds by custom does not hold. Every check is a function from a source tree to its faults; each has a
test that it finds a planted one.

The first line of a module's docstring says what the module is:

- "Pure": the same result for the same arguments, whatever the time, the network and the disk. Threads and locks are no
  I/O.
- "(shell)": does I/O, or imports a module that does.
- Neither: as "Pure", but only an empty package may leave the marker out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.source_tree import SourceTree, circles

REPO = Path(__file__).parents[1]

ROOMS = {
    "services": (
        "contract", "runtime", "client", "loadtest", "synthesis", "edge", "telemetry", "simulation", "local", "main",
        "cli_options", "cli",
    ),
    "services.runtime": (
        "errors", "expiring_dict", "slope", "polyphase", "audio_pool", "health", "clock", "clock_spread", "settings",
        "metrics", "observability", "gc_config", "memory_monitor", "http", "bus", "process",
    ),
    "services.runtime.bus": ("limits", "rights", "port", "memory", "nats"),
    "services.synthesis": (
        "batching", "job_lanes", "idle_streams", "metrics", "device_selector", "dsp", "instruments", "score", "sound",
        "packing", "kernels", "render", "synthesis_engine", "presence", "settling", "publisher", "worker", "service",
        "__main__",
    ),
    "services.synthesis.score": (
        "theory", "hashing", "presets", "events", "selection", "card", "form", "progression", "harmony", "plan",
        "writing", "layers", "compose",
    ),
    "services.edge": (
        "tasks", "chunk_encoder", "jitter_tracker", "readiness", "drain", "stream", "metrics", "listener", "codecs",
        "access", "streaming_server", "wire", "fanout", "endpoints", "service", "app", "server", "__main__",
    ),
    "services.telemetry": (
        "periodic", "events", "exposition", "fleet", "metrics", "alerting", "scaling", "scrape", "service", "app",
        "server", "__main__",
    ),
    "services.local": (
        "http_get", "ports", "processes", "doctor", "monitoring", "listen", "render", "soak", "up",
    ),
}  # fmt: skip
"""The modules and folders of each package that has folders, lowest first: each may import those before it, no other.

Modules whose names are promised (services.edge.chunk_encoder, services.runtime.metrics, …) stand beside the folders
that use them, so a folder may import a module of the package above it, if that stands lower.
"""

INDEPENDENT = ("client", "loadtest", "synthesis", "edge", "telemetry")
"""Packages that import the contract, the runtime and themselves."""

READS_SCORE = tuple(
    f"services.local.render.{name}"
    for name in (
        "form_view",
        "midi_file",
        "notes",
        "players",
        "plot",
        "plot_form",
        "plot_style",
        "score_json",
        "score_view",
    )
)
"""Modules of `auralis render` that read or draw the score; they are imported when it writes what they make."""

MAX_MODULES = 12
"""Modules of a folder, `__init__.py` aside."""
MAX_LINES = 400
"""Lines of a module that is no table."""
TABLES = {
    "services/synthesis/score/presets.py": "the presets, one row each",
}


# --- the checks: from a source tree to its faults ---------------------------------------------------------------------


def impure(source: SourceTree) -> list[str]:
    """Modules without "(shell)" that do I/O or import a shell."""
    faults = []
    for name, module in source.modules.items():
        if module.marker in ("shell", "both"):
            continue
        faults += [f"{source.where(name)} is not marked (shell) and does I/O: {found}" for found in module.io]
        if module.is_empty and module.is_package:
            continue
        faults += [
            f"{source.where(name)} is not marked (shell) and imports one: {found.target} (line {found.line})"
            for found in source.imports[name]
            if found.target is not None and not found.for_types and source.modules[found.target].marker == "shell"
        ]
    return faults


def mismarked(source: SourceTree) -> list[str]:
    """Modules without a marker, with two, or marked as shells without any I/O."""
    faults = []
    for name, module in source.modules.items():
        if module.marker == "none" and not module.is_empty:
            faults.append(f"{source.where(name)}: say Pure or (shell) in the first line of the docstring")
        elif module.marker == "both":
            faults.append(f"{source.where(name)}: says Pure and (shell)")
        elif module.marker == "shell" and not module.io:
            targets = [found.target for found in source.imports[name] if found.target is not None]
            if not any(source.modules[target].marker == "shell" for target in targets):
                faults.append(f"{source.where(name)}: says (shell), does no I/O and imports no shell")
    return faults


def import_circles(source: SourceTree) -> list[str]:
    """Modules that import each other, imports inside functions and for types included."""
    return [" <-> ".join(circle) for circle in circles({name: source.dependencies(name) for name in source.modules})]


def upward(source: SourceTree, rooms: dict[str, tuple[str, ...]]) -> list[str]:
    """Imports of something that stands higher in the table, and what the table leaves out."""
    faults = []
    for package in sorted(_packages_with_folders(source)):
        inside = {_room(name, package) for name in source.modules if name.startswith(package + ".")}
        faults += [
            f"{package}.{room} is missing in the table of rooms"
            for room in sorted(inside - set(rooms.get(package, ())))
        ]
        faults += [
            f"{package}.{room} is in the table of rooms and does not exist"
            for room in rooms.get(package, ())
            if room not in inside
        ]
    for name in source.modules:
        for found in source.imports[name]:
            if found.target is None:
                continue
            package = _common_package(name, found.target)
            order = rooms.get(package, ())
            here, there = _room(name, package), _room(found.target, package)
            if here in order and there in order and order.index(there) > order.index(here):
                faults.append(f"{source.where(name)}:{found.line} imports upward: {found.target}")
    return faults


def foreign(source: SourceTree) -> list[str]:
    """Imports across packages that the layers do not allow."""
    faults = []
    for name in source.modules:
        owner = name.split(".")[1] if "." in name else ""
        for found in source.imports[name]:
            top = found.module.partition(".")[0]
            other = found.module.split(".")[1] if found.module.startswith("services.") else ""
            allowed = {
                "contract": other == "contract" or top in sys.stdlib_module_names,
                "runtime": other in ("", "contract", "runtime") and top != "torch",
                **{each: other in ("", "contract", "runtime", each) for each in INDEPENDENT},
            }.get(owner, True)
            if top == "torch" and owner in ("client", "loadtest", "edge", "telemetry"):
                allowed = False
            if not allowed:
                faults.append(f"{source.where(name)}:{found.line} must not import {found.module}")
    return faults


def heavy_starts(source: SourceTree) -> list[str]:
    """Imports of torch, of services and of plots outside functions of the command line."""
    heavy = ("torch", "services.synthesis", "services.edge", "services.telemetry", *READS_SCORE)
    return [
        f"{source.where(name)}:{found.line} imports {found.module} at its start; import it where it is used"
        for name in source.modules
        if (name == "services.cli" or name.startswith("services.local")) and name not in READS_SCORE
        for found in source.imports[name]
        if not found.lazy
        and not found.for_types
        and any(_is_in(found.module, each) or _is_in(found.target or "", each) for each in heavy)
    ]


def too_large(source: SourceTree, tables: dict[str, str]) -> list[str]:
    """Folders with too many modules, files with too many lines, and tables that no longer are."""
    faults = []
    folders: dict[str, int] = {}
    for name, module in source.modules.items():
        if not module.is_package:
            folders[module.folder] = folders.get(module.folder, 0) + 1
        lines = len(module.path.read_text().splitlines())
        if lines > MAX_LINES and source.where(name) not in tables:
            faults.append(f"{source.where(name)} has {lines} lines, at most {MAX_LINES}; split it by what it knows")
        if lines <= MAX_LINES and source.where(name) in tables:
            faults.append(f"{source.where(name)} has {lines} lines and need not be listed as a table")
    faults += [
        f"{folder} holds {count} modules, at most {MAX_MODULES}; give some a folder of their own"
        for folder, count in folders.items()
        if count > MAX_MODULES
    ]
    files = {source.where(name) for name in source.modules}
    return faults + [f"{path} is listed as a table and does not exist" for path in tables if path not in files]


def _packages_with_folders(source: SourceTree) -> set[str]:
    return {name.rpartition(".")[0] for name, module in source.modules.items() if module.is_package and "." in name}


def _common_package(one: str, other: str) -> str:
    common = []
    for left, right in zip(one.split("."), other.split("."), strict=False):
        if left != right:
            break
        common.append(left)
    return ".".join(common)


def _room(name: str, package: str) -> str:
    """The part of `package` that a module belongs to; "" for the package itself."""
    return name.removeprefix(package).removeprefix(".").partition(".")[0]


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


# --- the services -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def services() -> SourceTree:
    return SourceTree(REPO / "services")


def test_only_shells_do_io(services: SourceTree) -> None:
    assert impure(services) == []


def test_every_module_says_what_it_is(services: SourceTree) -> None:
    assert mismarked(services) == []


def test_no_modules_import_each_other(services: SourceTree) -> None:
    assert import_circles(services) == []


def test_nothing_imports_upward(services: SourceTree) -> None:
    assert upward(services, ROOMS) == []


def test_packages_import_only_the_layers_below(services: SourceTree) -> None:
    assert foreign(services) == []


def test_the_command_line_imports_services_only_when_it_runs_them(services: SourceTree) -> None:
    # `auralis --help` must not wait for torch, nor for what reads the score.
    assert all(module in services.modules for module in READS_SCORE)
    assert heavy_starts(services) == []


def test_files_and_folders_are_small(services: SourceTree) -> None:
    assert too_large(services, TABLES) == []


# --- planted faults ---------------------------------------------------------------------------------------------------


def planted(folder: Path, modules: dict[str, str]) -> SourceTree:
    """A tree of modules: path below services without `.py` -> text. Each folder has its `__init__.py`."""
    for name, text in modules.items():
        path = folder / "services" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for parent in path.relative_to(folder).parents[:-1]:
            package = folder / parent / "__init__.py"
            if not package.exists():
                package.write_text('"""A folder."""\n')
    return SourceTree(folder / "services")


PURE = '"""Pure: nothing but thought."""\n'
SHELL = '"""Reads the clock (shell)."""\nimport time\n'


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import asyncio", "asyncio (line 2)"),
        ("import nats.aio.client", "nats.aio.client (line 2)"),
        ("from prometheus_client.core import Metric", "prometheus_client.core (line 2)"),
        ("def f():\n    import socket", "socket (line 3)"),
        ("from random import uniform", "random.uniform (line 2)"),
        ("import random\nrandom.shuffle([])", "random.shuffle (line 3)"),
        ("def f(clock=time.time): ...\nimport time", "time (line 3)"),
        ("from datetime import datetime\ndatetime.now()", "datetime.now (line 3)"),
        ("import sys\nsys.stderr.write('')", "sys.stderr (line 3)"),
        ("open('file')", "open() (line 2)"),
        ("path.open('wb')", ".open() (line 2)"),
        ("async def f(send):\n    await send()", "await (line 3)"),
        ("print('text')", "print() (line 2)"),
        ("from pathlib import Path\nPath('file').read_text()", ".read_text() (line 3)"),
    ],
)
def test_io_is_found_in_a_module_that_says_pure_and_in_one_that_says_nothing(
    code: str, found: str, tmp_path: Path
) -> None:
    source = planted(
        tmp_path, {"a": PURE + code, "b": '"""Says nothing."""\n' + code, "c": '"""Does it (shell)."""\n' + code}
    )
    assert impure(source) == [
        f"services/a.py is not marked (shell) and does I/O: {found}",
        f"services/b.py is not marked (shell) and does I/O: {found}",
    ]


@pytest.mark.parametrize(
    "code",
    [
        "import random\nrandom.Random(7).uniform(0, 1)",
        "import signal\nsignal.SIGTERM",
        "from pathlib import PurePath\nPurePath('a') / 'b'",
        "import threading\nthreading.Lock()",
        "import sys\nsys.float_info",
        "import av\nav.open(buffer)",
        "codec.open()",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asyncio",
    ],
)
def test_pure_parts_of_libraries_are_no_io(code: str, tmp_path: Path) -> None:
    assert impure(planted(tmp_path, {"a": PURE + code})) == []


def test_a_pure_module_that_imports_a_shell_is_found_also_through_a_package_that_passes_it_on(tmp_path: Path) -> None:
    source = planted(
        tmp_path,
        {
            "clock/system": SHELL + "class Clock: ...",
            "clock/protocol": PURE + "class Time: ...",
            "clock/__init__": "from services.clock.system import Clock\nfrom services.clock.protocol import Time\n",
            "a": PURE + "from services.clock import Clock\n",
            "b": PURE + "from services.clock import Time\n",
            "c": PURE + "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from services.clock import Clock\n",
            "d": PURE + "def f():\n    from services.clock import system\n",
        },
    )
    assert impure(source) == [
        "services/a.py is not marked (shell) and imports one: services.clock.system (line 2)",
        "services/d.py is not marked (shell) and imports one: services.clock.system (line 3)",
    ]


def test_a_wrong_or_missing_marker_is_found(tmp_path: Path) -> None:
    source = planted(
        tmp_path,
        {
            "a": '"""Says nothing."""\nx = 1\n',
            "b": '"""Pure, and a (shell)."""\nimport time\n',
            "c": '"""Does nothing (shell)."""\nx = 1\n',
            "d": SHELL,
            "e": '"""Imports one (shell)."""\nfrom services import d\n',
            "empty/__init__": '"""A folder."""\n',
        },
    )
    assert mismarked(source) == [
        "services/a.py: say Pure or (shell) in the first line of the docstring",
        "services/b.py: says Pure and (shell)",
        "services/c.py: says (shell), does no I/O and imports no shell",
    ]


def test_a_circle_of_imports_is_found_however_it_is_hidden(tmp_path: Path) -> None:
    source = planted(
        tmp_path,
        {
            "a": "from services import b\n",
            "b": "def f():\n    from services.c import X\n",
            "c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from services.a import Y\n",
            "d": "from services import a\n",
        },
    )
    assert import_circles(source) == ["services.a <-> services.b <-> services.c"]


def test_an_import_upward_is_found(tmp_path: Path) -> None:
    source = planted(
        tmp_path,
        {
            "edge/stream/ring": "from services.edge.fanout.hub import Hub\n",
            "edge/fanout/hub": "from services.edge.stream.chunk import Chunk\nfrom services.edge import metrics\n",
            "edge/stream/chunk": "from services.edge.stream import ring\n",
            "edge/metrics": "",
            "edge/new": "",
        },
    )
    rooms = {"services": ("edge",), "services.edge": ("metrics", "stream", "fanout", "gone")}
    assert upward(source, rooms) == [
        "services.edge.new is missing in the table of rooms",
        "services.edge.gone is in the table of rooms and does not exist",
        "services/edge/stream/ring.py:1 imports upward: services.edge.fanout.hub",
    ]


def test_an_import_across_layers_is_found(tmp_path: Path) -> None:
    source = planted(
        tmp_path,
        {
            "contract/spec": "import json\nimport numpy\nfrom services.runtime import clock\n",
            "runtime/clock": "import torch\nfrom services.contract import spec\nfrom services import edge\n",
            "edge/app": "from services.client import player\nimport torch.nn\nimport litestar\n",
            "client/player": "",
            "synthesis/worker": "import torch\nfrom services.runtime import clock\n",
            "local/up": "from services.edge import app\n",
        },
    )
    assert foreign(source) == [
        "services/contract/spec.py:2 must not import numpy",
        "services/contract/spec.py:3 must not import services.runtime",
        "services/edge/app.py:1 must not import services.client",
        "services/edge/app.py:2 must not import torch.nn",
        "services/runtime/clock.py:1 must not import torch",
        "services/runtime/clock.py:3 must not import services.edge",
    ]


def test_a_heavy_import_of_the_command_line_is_found(tmp_path: Path) -> None:
    source = planted(
        tmp_path,
        {
            "cli": "import torch\nfrom services import edge\ndef up():\n    from services.synthesis import worker\n",
            "local/up": "from services.telemetry import app\nimport click\n",
            "edge/app": "",
            "synthesis/worker": "",
            "telemetry/app": "",
        },
    )
    assert heavy_starts(source) == [
        "services/cli.py:1 imports torch at its start; import it where it is used",
        "services/cli.py:2 imports services.edge at its start; import it where it is used",
        "services/local/up.py:1 imports services.telemetry at its start; import it where it is used",
    ]


def test_a_file_and_a_folder_that_are_too_large_are_found(tmp_path: Path) -> None:
    source = planted(
        tmp_path,
        {
            "long": "x = 1\n" * (MAX_LINES + 1),
            "table": "x = 1\n" * (MAX_LINES + 1),
            "short": "x = 1\n",
            **{f"full/module_{number}": "" for number in range(MAX_MODULES + 1)},
            **{f"enough/module_{number}": "x = 1\n" * MAX_LINES for number in range(MAX_MODULES)},
        },
    )
    assert too_large(
        source, {"services/table.py": "rows", "services/short.py": "rows", "services/gone.py": "rows"}
    ) == [
        "services/long.py has 401 lines, at most 400; split it by what it knows",
        "services/short.py has 1 lines and need not be listed as a table",
        "services.full holds 13 modules, at most 12; give some a folder of their own",
        "services/gone.py is listed as a table and does not exist",
    ]
