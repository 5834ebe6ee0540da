"""Compiles one kernel into a package (shell: runs a C++ compiler).

This module imports inductor, which takes seconds: only processes that build import it.
"""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch._inductor import aoti_compile_and_package, config

from services.synthesis.kernels.graphs import LIMITS, KernelPlan
from services.synthesis.kernels.instruction_set import instruction_set


def compile_kernel(plan: KernelPlan, target: Path, compiler: str) -> None:
    """Export and compile one kernel; the file appears under its name only when it is complete.

    Args:
        plan: what to compile.
        target: the package's path, in a folder that exists.
        compiler: a C++ compiler's command.

    Raises:
        Whatever torch or the compiler raises.
    """
    names = sorted({name for axis in plan.axes for name in axis.values()})
    dims = {name: torch.export.Dim(name, min=LIMITS[name][0], max=LIMITS[name][1]) for name in names}
    shapes = tuple({axis: dims[name] for axis, name in axes.items()} for axes in plan.axes)
    example = plan.example()
    with torch.no_grad(), compiler_settings(compiler), tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        exported = torch.export.export(plan.module(), example, dynamic_shapes=shapes)
        package = aoti_compile_and_package(exported, package_path=str(Path(scratch) / "kernel.pt2"))
        # Another process may have built it meanwhile; a rename replaces a file in one step either way.
        Path(package).replace(target)


def compiler_settings(compiler: str) -> AbstractContextManager[Any]:
    """Inductor's configuration for our kernels."""
    settings: dict[str, Any] = {
        # The compiler chooses fused multiply-adds once, when a kernel is built: the same bits on every run.
        "cpp.enable_floating_point_contract_flag": "fast",
        # As many threads as the process that runs the kernel has, not the one that built it.
        "cpp.dynamic_threads": True,
        "cpp.cxx": (None, compiler),
        # The voices' sums share their sines in one pass; from 30 operations on each would go through memory.
        "realize_opcount_threshold": 64,
        # Places in the tables are computed by `packing`, which keeps them inside; a test reads all of them.
        "assert_indirect_indexing": False,
        # Optimising the code around the kernels is not worth the compiler's time.
        "aot_inductor.compile_wrapper_opt_level": "O0",
    }
    isa = instruction_set()
    if isa.startswith("x86-64"):
        settings["cpp.march"] = isa
    patched: AbstractContextManager[Any] = config.patch(settings)
    return patched
