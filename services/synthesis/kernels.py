"""The five kernels of the sound, compiled ahead of time and kept on disk, or run eagerly where there is no compiler.

On a CPU each kernel is an AOTInductor package: machine code for any number of rows and partials, built once with the
C++ compiler and opened afterwards without one. A package's folder is named by everything it depends on (torch,
instruction set, source), so that a stale or foreign one is never even opened. On CUDA and MPS the same functions go
through `torch.compile`.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, override

import torch
from torch import Tensor

from services.synthesis.dsp import control, grid, level, noise, resample, reverb, sine, voices
from services.synthesis.dsp.control import COLUMNS
from services.synthesis.dsp.grid import INTERVALS, LANE, LOW_FRAMES, LOW_INTERVALS, POINTS, QUARTER
from services.synthesis.dsp.noise import AIR_TAPS, WHITE_FRAMES
from services.synthesis.dsp.reverb import PADDED_BINS, PARTS, WET_OFFSET, WINDOW_FRAMES

Progress = Callable[[str, float], None]

_SOURCES: Final = (control, grid, level, noise, resample, reverb, sine, voices)
_MAX_ROWS: Final = 1024
_MAX_PARTIALS: Final = 8192
LEAST_ROWS: Final = 2
"""A single row would be compiled as a special case, with other bits: callers double it."""


class KernelError(RuntimeError):
    """A kernel could not be built or opened; the message says why and what happens instead."""


class Expand(torch.nn.Module):
    """See `control.expand`."""

    @override
    def forward(self, parameters: Tensor, phases: Tensor) -> tuple[Tensor, ...]:
        return control.expand(parameters, phases)


class Low(torch.nn.Module):
    """See `voices.low`."""

    @override
    def forward(self, *points: Tensor) -> tuple[Tensor, Tensor]:
        return voices.low(points)


class High(torch.nn.Module):
    """See `voices.high`."""

    @override
    def forward(self, *points: Tensor) -> Tensor:
        return voices.high(points)


class Wet(torch.nn.Module):
    """The reverb's spectrum, and white noise for the air (apart from it, but one package less)."""

    @override
    def forward(
        self, kept: Tensor, slots: Tensor, responses: Tensor, rooms: Tensor, first_frame: Tensor, seeds: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        real, imaginary = reverb.mix_spectra(kept, slots, responses, rooms)
        return real, imaginary, noise.white(first_frame, seeds)


class Finish(torch.nn.Module):
    """Sum, filter, limit, round. The quarter-rate sum is returned too: an output is computed once, not 24 times."""

    def __init__(self) -> None:
        super().__init__()
        self._phases = [[float(tap) for tap in row] for row in resample.phases()]

    @override
    def forward(
        self,
        dry: Tensor,
        reverberant: Tensor,
        white: Tensor,
        air_taps: Tensor,
        air_level: Tensor,
        bright: Tensor,
        dither: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        wet = reverberant[..., WET_OFFSET : WET_OFFSET + LOW_FRAMES]
        mixed = level.quarter_mix(dry, wet, white, air_taps, air_level)
        samples, peak, mean_square = level.finish(mixed, bright, self._phases, dither)
        return samples, peak, mean_square, mixed


class Kernel(Protocol):
    """A compiled or eager function of tensors."""

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        """Run it; a list or tuple of tensors even when there is one."""
        ...


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a kernel is exported: example inputs, and which axes vary."""

    name: str
    module: Callable[[], torch.nn.Module]
    example: Callable[[], tuple[Tensor, ...]]
    axes: tuple[dict[int, str], ...]


def _points(rows: int, partials: int) -> tuple[Tensor, ...]:
    return tuple(torch.rand(rows, partials, POINTS) for _ in range(8))


_PLANS: Final = (
    _Plan(
        "expand",
        Expand,
        lambda: (torch.rand(4, 12, COLUMNS), torch.zeros((4, 12, 2), dtype=torch.int32)),
        ({0: "rows", 1: "partials"},) * 2,
    ),
    _Plan("low", Low, lambda: _points(4, 12), ({0: "rows", 1: "partials"},) * 8),
    _Plan("high", High, lambda: _points(4, 12)[:6], ({0: "rows", 1: "partials"},) * 6),
    _Plan(
        "wet",
        Wet,
        lambda: (
            torch.rand(12, 2, PADDED_BINS),
            torch.zeros((4, PARTS), dtype=torch.int64),
            torch.rand(8, PARTS, 2, 2, PADDED_BINS),
            torch.zeros(4, dtype=torch.int64),
            torch.zeros((4, 1), dtype=torch.int32),
            torch.zeros((4, 2), dtype=torch.int32),
        ),
        ({0: "slots"}, {0: "rows"}, {0: "rooms"}, {0: "rows"}, {0: "rows"}, {0: "rows"}),
    ),
    _Plan(
        "finish",
        Finish,
        lambda: (
            torch.rand(4, 2, LOW_INTERVALS, LANE),
            torch.rand(4, 2, WINDOW_FRAMES),
            torch.rand(4, 2, WHITE_FRAMES),
            torch.rand(4, AIR_TAPS),
            torch.rand(4, 2, LOW_INTERVALS + 1),
            torch.rand(4, 2, QUARTER, INTERVALS, LANE),
            torch.zeros((4, 2), dtype=torch.int32),
        ),
        ({0: "rows"},) * 7,
    ),
)
_LIMITS: Final = {
    "rows": (LEAST_ROWS, _MAX_ROWS),
    "partials": (1, _MAX_PARTIALS),
    "slots": (2, 2**20),
    "rooms": (2, 64),
}


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels, ready to run.

    Attributes:
        mode: "compiled" or "eager".
        reason: why it is eager; empty when it is not.
        expand, low, high, wet, finish: see the modules of the same names.
    """

    mode: str
    reason: str
    expand: Kernel
    low: Kernel
    high: Kernel
    wet: Kernel
    finish: Kernel


def load_kernels(
    device: torch.device, *, enable_compile: bool, cache: Path | None = None, progress: Progress | None = None
) -> Kernels:
    """Kernels for `device`: opened from `cache`, built if they are missing, eager if that cannot be.

    Args:
        enable_compile: False runs eagerly.
        cache: folder of packages; None is the user's.
        progress: told the stage and how much of the work is done (0 to 1).
    """
    say = progress or (lambda _stage, _fraction: None)
    if not enable_compile:
        return eager_kernels("compilation is switched off")
    if device.type != "cpu":
        return _just_in_time_kernels()
    try:
        folder = (cache or default_cache()) / kernel_key()
        _build_missing(folder, say)
        loaded = {plan.name: _open(folder / f"{plan.name}.pt2") for plan in _PLANS}
    except KernelError as error:
        return eager_kernels(str(error))
    return Kernels("compiled", "", **loaded)


def eager_kernels(reason: str) -> Kernels:
    """The same functions, one torch operation at a time."""
    wet, finish = Wet(), Finish()
    return Kernels(
        "eager",
        reason,
        expand=Expand(),
        low=lambda *points: voices.accumulate_low(points),
        high=lambda *points: (voices.accumulate_high(points),),
        wet=wet,
        finish=finish,
    )


def default_cache() -> Path:
    """The user's cache folder for kernels, by the platform's custom."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "auralis" / "kernels"


def kernel_key() -> str:
    """Name of the folder for this torch, this instruction set and this source: any difference is another name."""
    parts = {
        "torch": torch.__version__,
        "system": f"{sys.platform}-{platform.machine()}",
        "isa": instruction_set(),
        "source": source_hash(),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return f"{parts['isa']}-{digest}"


def source_hash() -> str:
    """Hash of everything that the kernels are made of."""
    digest = hashlib.sha256()
    for module in (*_SOURCES, sys.modules[__name__]):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()


def instruction_set() -> str:
    """The level that packages are built for, decided by the CPU's flags before any package is opened."""
    machine = platform.machine().lower()
    if machine not in ("x86_64", "amd64"):
        return machine
    flags = _cpu_flags()
    capability = torch.backends.cpu.get_cpu_capability()
    if not _has_march():
        # This torch compiles for exactly the CPU it runs on.
        return "native-" + hashlib.sha256(" ".join(sorted(flags)).encode()).hexdigest()[:8]
    if {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= flags and capability.startswith("AVX512"):
        return "x86-64-v4"
    if {"avx2", "fma", "bmi2", "f16c"} <= flags:
        return "x86-64-v3"
    return "x86-64"


def _cpu_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def _has_march() -> bool:
    # Read from the file: importing inductor's configuration costs seconds, and this is asked at every start.
    config = Path(torch.__file__).parent / "_inductor" / "config.py"
    try:
        return "TORCHINDUCTOR_CPP_MARCH" in config.read_text(encoding="utf-8")
    except OSError:
        return False


def _build_missing(folder: Path, say: Progress) -> None:
    missing = [plan for plan in _PLANS if not (folder / f"{plan.name}.pt2").is_file()]
    if not missing:
        return
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        raise KernelError("no C++ compiler (c++, g++ or clang++) was found; install one for about ten times the speed")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KernelError(f"the kernel cache {folder} cannot be written ({error}); set AURALIS_KERNEL_CACHE") from error
    for done, plan in enumerate(missing):
        say(f"compiling {plan.name}", done / len(missing))
        _build(plan, folder / f"{plan.name}.pt2", compiler)
    say("compiled", 1.0)


def _build(plan: _Plan, target: Path, compiler: str) -> None:
    """Export and compile one kernel; it appears under its name only when it is whole."""
    from torch._inductor import aoti_compile_and_package  # noqa: PLC0415 - costs seconds, and most starts need none

    names = sorted({name for axis in plan.axes for name in axis.values()})
    dims = {name: torch.export.Dim(name, min=_LIMITS[name][0], max=_LIMITS[name][1]) for name in names}
    shapes = tuple({axis: dims[name] for axis, name in axes.items()} for axes in plan.axes)
    module = plan.module()
    example = plan.example()
    started = time.monotonic()
    try:
        with torch.no_grad(), _compiler_settings(compiler), tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            variadic = plan.name in ("low", "high")
            exported = torch.export.export(module, example, dynamic_shapes=(shapes,) if variadic else shapes)
            package = aoti_compile_and_package(exported, package_path=str(Path(scratch) / "kernel.pt2"))
            # Another process may have been quicker; the name changes in one step either way.
            Path(package).replace(target)
    except Exception as error:
        raise KernelError(
            f"compiling kernel {plan.name} failed after {time.monotonic() - started:.0f} s: {_first_line(error)}"
        ) from error


@contextmanager
def _compiler_settings(compiler: str) -> Iterator[None]:
    from torch._inductor import config  # noqa: PLC0415 - as above

    # Contraction to fused multiply-add is chosen by the compiler once, at build time: same bits on every run.
    settings: dict[str, Any] = {
        "cpp.enable_floating_point_contract_flag": "fast",
        "cpp.dynamic_threads": True,
        "cpp.cxx": (None, compiler),
    }
    isa = instruction_set()
    if isa.startswith("x86-64"):
        settings["cpp.march"] = isa
    with config.patch(settings):
        yield


class _Package:
    """A package opened by torch's loader itself: its Python wrapper imports the whole compiler, which takes seconds."""

    def __init__(self, path: Path) -> None:
        loader = torch._C._aoti.AOTIModelPackageLoader  # noqa: SLF001 - see the class
        self._loader = loader(str(path), "model", False, 1, -1)  # noqa: FBT003 - the binding takes no names

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        return self._loader.run(list(tensors))


def _open(path: Path) -> Kernel:
    try:
        return _Package(path)
    except Exception as error:
        # A torn file on disk or a folder for temporary files that does not allow execution.
        raise KernelError(
            f"kernel {path} cannot be opened ({_first_line(error)}); delete it, and see that TMPDIR allows execution"
        ) from error


def _just_in_time_kernels() -> Kernels:
    def compiled(module: torch.nn.Module) -> Kernel:
        function = torch.compile(module, fullgraph=True, dynamic=True)

        def call(*tensors: Tensor) -> Sequence[Tensor]:
            result = function(*tensors)
            return result if isinstance(result, tuple | list) else (result,)

        return call

    return Kernels(
        "compiled",
        "",
        expand=compiled(Expand()),
        low=compiled(Low()),
        high=compiled(High()),
        wet=compiled(Wet()),
        finish=compiled(Finish()),
    )


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
