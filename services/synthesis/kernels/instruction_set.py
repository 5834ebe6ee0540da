"""Which instruction set kernels are built for (shell: reads the processor's flags)."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch

LESSER: Final[Mapping[str, tuple[str, ...]]] = {"x86-64-v4": ("x86-64-v3", "x86-64"), "x86-64-v3": ("x86-64",)}
"""Other instruction sets that a processor runs, the best first: images carry kernels that were built elsewhere."""

_AVX512: Final = frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"})
_AVX2: Final = frozenset({"avx2", "fma", "bmi2", "f16c"})


def instruction_set() -> str:
    """The level that packages are built for, for example "x86-64-v3"; known before any package is opened."""
    machine = platform.machine().lower()
    if machine not in ("x86_64", "amd64"):
        return machine
    flags = _cpu_flags()
    capability = torch.backends.cpu.get_cpu_capability()
    if not has_march():
        # This torch compiles for exactly the processor that it runs on.
        return "native-" + hashlib.sha256(" ".join(sorted(flags)).encode()).hexdigest()[:8]
    # A processor may have AVX-512 and torch not use it.
    if flags >= _AVX512 and capability.startswith("AVX512"):
        return "x86-64-v4"
    if flags >= _AVX2:
        return "x86-64-v3"
    return "x86-64"


def has_march() -> bool:
    """Whether this torch can build for an instruction set other than the machine's own."""
    # Read from the file: every start asks this, and importing inductor's configuration takes seconds.
    config = Path(torch.__file__).parent / "_inductor" / "config.py"
    try:
        return "TORCHINDUCTOR_CPP_MARCH" in config.read_text(encoding="utf-8")
    except OSError:
        return False


def _cpu_flags() -> frozenset[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()
