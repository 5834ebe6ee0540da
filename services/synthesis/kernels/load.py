"""The six kernels of the sound (shell): opened from disk, built if they are missing, eager if that fails.

On a CPU each kernel is an AOTInductor package: machine code for any number of rows and partials, built once with a
C++ compiler and opened afterwards without one. On CUDA and MPS the same functions go through `torch.compile`.
"""

from __future__ import annotations

import threading
from pathlib import Path

import torch

from services.synthesis.dsp import voices
from services.synthesis.kernels.cache import choose_folder, default_cache, package_path
from services.synthesis.kernels.child_builds import build_missing, find_compiler
from services.synthesis.kernels.graphs import Expand, Finish, Wet
from services.synthesis.kernels.just_in_time import just_in_time_kernels
from services.synthesis.kernels.kernel import KERNEL_NAMES, Kernel, KernelError, Kernels, Progress, first_line
from services.synthesis.kernels.package import Package


def load_kernels(
    device: torch.device,
    *,
    enable_compile: bool,
    cache: Path | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    threads: int = 1,
) -> Kernels:
    """Kernels for `device`; eager ones, with the reason, if compiled ones cannot be had.

    Args:
        device: where they run.
        enable_compile: False runs eagerly.
        cache: folder of packages; None is the user's.
        progress: told the stage and how much of the work is done (0 to 1).
        stop: set it to give up building.
        threads: how many threads may call a kernel at the same time.
    """
    say = progress or (lambda _stage, _fraction: None)
    if not enable_compile:
        return eager_kernels("compilation is switched off")
    try:
        if device.type != "cpu":
            return just_in_time_kernels(device, say, stop)
        compiler = find_compiler()
        folder = choose_folder(cache or default_cache(), can_build=compiler is not None)
        build_missing(folder, compiler, say, stop)
        opened = {name: _open(package_path(folder, name), threads) for name in KERNEL_NAMES}
    except KernelError as error:
        return eager_kernels(str(error))
    return Kernels("compiled", "", 1, **opened)


def eager_kernels(reason: str) -> Kernels:
    """The same functions, one torch operation at a time.

    Args:
        reason: why they are not compiled.
    """
    wet, finish = Wet(), Finish()
    return Kernels(
        "eager",
        reason,
        1,
        expand=Expand(),
        low=lambda *points: (voices.accumulated(voices.low, *points),),
        high=lambda *points: (voices.accumulated(voices.high, *points),),
        wet=lambda *spectra: (wet(*spectra),),
        finish=finish,
        finish_bright=finish,
    )


def _open(path: Path, threads: int) -> Kernel:
    try:
        return Package(path, threads)
    except Exception as error:
        # A torn file, or a folder for temporary files that forbids execution.
        raise KernelError(
            f"kernel {path} cannot be opened ({first_line(error)}); delete it, and see that TMPDIR allows execution"
        ) from error
