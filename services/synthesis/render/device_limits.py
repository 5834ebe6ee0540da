"""How much a device takes at a time (shell: asks the system for memory and cores)."""

from __future__ import annotations

import os
from typing import Final

import torch

from services.synthesis.dsp.reverb import PARTS
from services.synthesis.render.reverb_sends import SLOT_BYTES

SENDS_PER_STREAM: Final = PARTS + 1
"""Seconds of reverb send that are kept of a stream while its next second is rendered."""

_CPU_ROWS: Final = 8
"""Rows of a kernel call on a CPU: what they write between two kernels stays in a cache of a few MB."""
_GPU_ROWS: Final = (16, 256)
"""Fewest and most rows of a kernel call on a GPU; in between, as many as fit into its memory."""
_ROW_BYTES: Final = 8 * 2**20
"""Memory that the kernels need for a row of two hundred partials, at most."""
_CPU_STREAMS: Final = 1_024
_GPU_STREAMS: Final = (1_024, 16_384)
"""Fewest and most streams that a GPU keeps something of."""
_MEMORY_SHARE: Final = 4
"""Kernels, and what is kept, each take this part (one in 4) of a GPU's free memory."""


def default_batch_size(device: torch.device) -> int:
    """Rows of a kernel call that suit `device`; on CUDA by the memory that is free now."""
    if device.type == "cpu":
        return _CPU_ROWS
    least, most = _GPU_ROWS
    if device.type != "cuda":
        return least
    free, _ = torch.cuda.mem_get_info(device)
    return max(least, min(most, free // _MEMORY_SHARE // _ROW_BYTES))


def default_max_streams(device: torch.device) -> int:
    """How many streams `device` may render in real time at most; on CUDA by the memory that is free now."""
    if device.type != "cuda":
        return _CPU_STREAMS
    least, most = _GPU_STREAMS
    free, _ = torch.cuda.mem_get_info(device)
    return max(least, min(most, free // _MEMORY_SHARE // (SENDS_PER_STREAM * SLOT_BYTES)))


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_one_core() -> None:
    """Prepare a thread that renders: torch uses one core in it, and denormal numbers become zero."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
