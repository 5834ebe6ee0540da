"""The six kernels of the sound, compiled ahead of time and kept on disk, or run eagerly where there is no compiler.

On a CPU each kernel is an AOTInductor package: machine code for any number of rows and partials, built once with the
C++ compiler and opened afterwards without one. A package's folder is named by everything it depends on (torch,
instruction set, source), so that a stale or foreign one is never even opened. On CUDA and MPS the same functions go
through `torch.compile`.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import platform
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Protocol

import torch
from torch import Tensor

from services.synthesis.dsp import voices
from services.synthesis.kernels.graphs import PLANS, Expand, Finish, Plan, Wet
from services.synthesis.kernels.package import Package

Progress = Callable[[str, float], None]

KERNEL_NAMES: Final = ("low", "finish_bright", "finish", "expand", "high", "wet")
"""In the order in which they are built: the slow ones first."""

LESSER: Final[Mapping[str, tuple[str, ...]]] = {"x86-64-v4": ("x86-64-v3", "x86-64"), "x86-64-v3": ("x86-64",)}
"""What a processor runs besides its own instruction set, the best first: images carry kernels built elsewhere."""

_SOURCES: Final = ("dsp/*.py", "kernels/graphs.py", "kernels/build.py")
_JIT_LEAST: Final = 2
"""`torch.compile` makes a special case of a single row or partial, another compilation with other bits."""


class KernelError(RuntimeError):
    """A kernel could not be built or opened; the message says why and what happens instead."""


class Kernel(Protocol):
    """A compiled or eager function of tensors."""

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        """Run it; a list or tuple of tensors even when there is one."""
        ...


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels, ready to run.

    Attributes:
        mode: "compiled" or "eager".
        reason: why it is eager; empty when it is not.
        least: how many rows a call must have at least, and how many partials a row.
        expand, low, high, wet, finish, finish_bright: see `graphs`.
    """

    mode: str
    reason: str
    least: int
    expand: Kernel
    low: Kernel
    high: Kernel
    wet: Kernel
    finish: Kernel
    finish_bright: Kernel


def load_kernels(
    device: torch.device,
    *,
    enable_compile: bool,
    cache: Path | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    threads: int = 1,
) -> Kernels:
    """Kernels for `device`: opened from `cache`, built if they are missing, eager if that cannot be.

    Args:
        enable_compile: False runs eagerly.
        cache: folder of packages; None is the user's.
        progress: told the stage and how much of the work is done (0 to 1).
        stop: set it to give up building.
        threads: how many threads will call a kernel at once.
    """
    say = progress or (lambda _stage, _fraction: None)
    if not enable_compile:
        return eager_kernels("compilation is switched off")
    try:
        if device.type != "cpu":
            return _just_in_time_kernels(device, say, stop)
        folder = _folder(cache or default_cache())
        _build_missing(folder, say, stop)
        loaded = {name: _open(folder / f"{name}.pt2", threads) for name in KERNEL_NAMES}
    except KernelError as error:
        return eager_kernels(str(error))
    return Kernels("compiled", "", 1, **loaded)


def eager_kernels(reason: str) -> Kernels:
    """The same functions, one torch operation at a time."""
    wet, finish = Wet(), Finish()
    return Kernels(
        "eager",
        reason,
        1,
        expand=Expand(),
        low=lambda *points: (voices.accumulate_low(*points),),
        high=lambda *points: (voices.accumulate_high(*points),),
        wet=wet,
        finish=finish,
        finish_bright=finish,
    )


def default_cache() -> Path:
    """The user's cache folder for kernels, by the platform's custom."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "auralis" / "kernels"


def _folder(cache: Path) -> Path:
    """The folder to open kernels from: this processor's own, or a lesser one's where nothing better can be built."""
    own = cache / kernel_key()
    if _is_whole(own) or find_compiler():
        return own
    lesser = (cache / kernel_key(isa) for isa in LESSER.get(instruction_set(), ()))
    return next((folder for folder in lesser if _is_whole(folder)), own)


def _is_whole(folder: Path) -> bool:
    return all((folder / f"{name}.pt2").is_file() for name in KERNEL_NAMES)


def kernel_key(isa: str | None = None) -> str:
    """Name of the folder for this torch, an instruction set and this source: any difference is another name.

    Args:
        isa: see `instruction_set`; None: this processor's.
    """
    parts = {
        "torch": torch.__version__,
        "system": f"{sys.platform}-{platform.machine()}",
        "isa": isa or instruction_set(),
        "source": source_hash(),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return f"{parts['isa']}-{digest}"


@cache
def source_hash() -> str:
    """Hash of the program text that kernels are made from; comments and docstrings do not count."""
    here = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for source in sorted(here.glob(pattern)):
            tree = ast.parse(source.read_bytes())
            for node in ast.walk(tree):
                # A string that stands alone is prose.
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    node.body = [part for part in node.body if not _is_prose(part)] or [ast.Pass()]
            digest.update(source.name.encode() + ast.dump(tree).encode())
    return digest.hexdigest()


def _is_prose(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def instruction_set() -> str:
    """The level that packages are built for, decided by the CPU's flags before any package is opened."""
    machine = platform.machine().lower()
    if machine not in ("x86_64", "amd64"):
        return machine
    flags = _cpu_flags()
    capability = torch.backends.cpu.get_cpu_capability()
    if not has_march():
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


def has_march() -> bool:
    """Whether this torch can build for an instruction set other than the machine's own."""
    # Read from the file: importing inductor's configuration costs seconds, and this is asked at every start.
    config = Path(torch.__file__).parent / "_inductor" / "config.py"
    try:
        return "TORCHINDUCTOR_CPP_MARCH" in config.read_text(encoding="utf-8")
    except OSError:
        return False


def _build_missing(folder: Path, say: Progress, stop: threading.Event | None) -> None:
    missing = [name for name in KERNEL_NAMES if not (folder / f"{name}.pt2").is_file()]
    if not missing:
        return
    compiler = find_compiler()
    if not compiler:
        raise KernelError("no C++ compiler (c++, g++ or clang++) was found; install one for about ten times the speed")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KernelError(f"the kernel cache {folder} cannot be written ({error}); set AURALIS_KERNEL_CACHE") from error
    say("compiling kernels", 0.0)
    # In processes of their own: the compiler stays out of this one's memory and off its interpreter's lock.
    width = min(len(missing), 2 if (os.cpu_count() or 1) > 1 else 1)
    children = [
        subprocess.Popen(  # noqa: S603 - this interpreter, our own module, a compiler from the environment
            [sys.executable, "-m", "services.synthesis.kernels.build", str(folder), compiler, *missing[part::width]],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # The child must find `services` wherever this process found it.
            cwd=Path(__file__).resolve().parents[3],
        )
        for part in range(width)
    ]
    try:
        _follow(children, len(missing), say, stop)
    finally:
        for child in children:
            child.kill()
            child.wait()
            if child.stdout:
                child.stdout.close()
    say("kernels compiled", 1.0)


def _follow(children: list[subprocess.Popen[str]], total: int, say: Progress, stop: threading.Event | None) -> None:
    """Pass the children's progress on until all have ended well."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    readers = [threading.Thread(target=_read_lines, args=(child, lines), daemon=True) for child in children]
    for reader in readers:
        reader.start()
    done = 0
    last = ""
    while any(reader.is_alive() for reader in readers) or not lines.empty():
        if stop is not None and stop.is_set():
            raise KernelError("compiling was stopped")
        try:
            line = lines.get(timeout=0.1)
        except queue.Empty:
            continue
        word, _, rest = line.partition(" ")
        if word == "built":
            done += 1
            say(f"compiled kernel {rest}", done / total)
        else:
            last = line
    for child in children:
        if child.wait() != 0:
            raise KernelError(f"compiling the kernels failed: {last or f'exit code {child.returncode}'}")


def _read_lines(child: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    assert child.stdout is not None  # noqa: S101 - opened as a pipe
    for line in child.stdout:
        if line.strip():
            lines.put(line.strip())


def find_compiler() -> str | None:
    """The C++ compiler that kernels are built with."""
    return os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")


def _open(path: Path, threads: int = 1) -> Kernel:
    try:
        return Package(path, threads)
    except Exception as error:
        # A torn file on disk or a folder for temporary files that does not allow execution.
        raise KernelError(
            f"kernel {path} cannot be opened ({first_line(error)}); delete it, and see that TMPDIR allows execution"
        ) from error


def _just_in_time_kernels(device: torch.device, say: Progress, stop: threading.Event | None) -> Kernels:
    """Kernels by `torch.compile`, each compiled once, here, for any number of rows and partials."""

    def compile_all() -> dict[str, Kernel]:
        # A compiled function is only good for as many threads as it was compiled with, and all that render have one.
        torch.set_num_threads(1)
        loaded: dict[str, Kernel] = {}
        for plan in PLANS:
            if stop is not None and stop.is_set():
                raise KernelError("compiling was stopped")
            say("compiling kernels", len(loaded) / len(PLANS))
            try:
                loaded[plan.name] = _just_in_time(plan, device)
            except Exception as error:
                raise KernelError(
                    f"torch.compile cannot make kernel {plan.name} for {device.type} ({first_line(error)}); for CUDA it"
                    " needs Triton and a C compiler"
                ) from error
        return loaded

    with ThreadPoolExecutor(1, thread_name_prefix="compile") as thread:
        loaded = thread.submit(compile_all).result()
    say("kernels compiled", 1.0)
    return Kernels("compiled", "", _JIT_LEAST, **loaded)


def _just_in_time(plan: Plan, device: torch.device) -> Kernel:
    function = torch.compile(plan.module(), fullgraph=True)
    with torch.inference_mode():
        example = [tensor.to(device) for tensor in plan.example()]
        # Said one by one: of its own accord it takes two lengths for one where they are equal the first time, and
        # compiles again, for a minute in which no stream is rendered, when they are not.
        for tensor, axes in zip(example, plan.axes, strict=True):
            for axis in axes:
                torch._dynamo.mark_dynamic(tensor, axis)  # noqa: SLF001 - documented, under this name
        function(*example)

    def call(*tensors: Tensor) -> Sequence[Tensor]:
        result = function(*tensors)
        return result if isinstance(result, tuple | list) else (result,)

    return call


def first_line(error: BaseException) -> str:
    """What an error says, short enough for a log line."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
