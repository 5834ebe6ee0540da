"""Build kernels: `python -m services.synthesis.kernels.build [FOLDER COMPILER NAME...]`.

Without arguments: all that the user's cache lacks, with progress. With them it is the child process of `load.py`,
which says `built NAME` for each, or one line with the reason why it could not.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch._inductor import aoti_compile_and_package, config

from services.synthesis.kernels.graphs import LIMITS, PLANS, Plan
from services.synthesis.kernels.load import first_line, instruction_set, load_kernels


def build(plan: Plan, target: Path, compiler: str) -> None:
    """Export and compile one kernel; it appears under its name only when it is whole."""
    names = sorted({name for axis in plan.axes for name in axis.values()})
    dims = {name: torch.export.Dim(name, min=LIMITS[name][0], max=LIMITS[name][1]) for name in names}
    shapes = tuple({axis: dims[name] for axis, name in axes.items()} for axes in plan.axes)
    example = plan.example()
    with torch.no_grad(), compiler_settings(compiler), tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        exported = torch.export.export(plan.module(), example, dynamic_shapes=shapes)
        package = aoti_compile_and_package(exported, package_path=str(Path(scratch) / "kernel.pt2"))
        # Another process may have been quicker; the name changes in one step either way.
        Path(package).replace(target)


def compiler_settings(compiler: str) -> AbstractContextManager[Any]:
    """Inductor's configuration for our kernels."""
    settings: dict[str, Any] = {
        # Contraction to fused multiply-add is chosen by the compiler once, at build time: same bits on every run.
        "cpp.enable_floating_point_contract_flag": "fast",
        # As many threads as the process that runs it has, not the one that built it.
        "cpp.dynamic_threads": True,
        "cpp.cxx": (None, compiler),
        # The voices' sums share their sines in one pass; from 30 operations on they would go through memory one by one.
        "realize_opcount_threshold": 64,
        # What calls the kernels is not worth the compiler's time.
        "aot_inductor.compile_wrapper_opt_level": "O0",
    }
    isa = instruction_set()
    if isa.startswith("x86-64"):
        settings["cpp.march"] = isa
    patched: AbstractContextManager[Any] = config.patch(settings)
    return patched


def main(arguments: Sequence[str]) -> int:
    """Build what `arguments` name; the process's exit code."""
    if not arguments:
        started = time.monotonic()
        kernels = load_kernels(
            torch.device("cpu"),
            enable_compile=True,
            progress=lambda stage, fraction: print(f"{fraction:4.0%}  {stage}", flush=True),  # noqa: T201 - a tool
        )
        print(f"{kernels.mode} in {time.monotonic() - started:.0f} s {kernels.reason}".strip())  # noqa: T201 - as above
        return 0 if kernels.mode == "compiled" else 1
    folder, compiler, *names = arguments
    plans = {plan.name: plan for plan in PLANS}
    for name in names:
        try:
            build(plans[name], Path(folder) / f"{name}.pt2", compiler)
        except Exception as error:  # noqa: BLE001 - whatever it is, the parent runs eagerly and says so
            print(f"kernel {name}: {first_line(error)}", flush=True)  # noqa: T201 - the parent reads it
            return 1
        print(f"built {name}", flush=True)  # noqa: T201 - the parent reads it
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
