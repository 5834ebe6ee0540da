"""The C library's allocator, told to keep what a batch has freed for the next one."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

# From malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

_KEPT_BYTES: Final = 256 * 2**20
"""Free memory at the end of an arena that is kept: more than the kernels of one thread need."""
_MAPPED_BYTES: Final = 32 * 2**20
"""What is larger is no intermediate result; it has pages of its own, which come when they are written."""


def keep_freed_memory() -> bool:
    """Stop the allocator from giving memory back to the system between two batches.

    By itself it returns what a batch has freed, and the system brings every page again, zeroed, for the next one: a
    hundred page faults for each stream and second, a tenth of the time.

    Returns:
        Whether the allocator was told: only glibc's knows these words.
    """
    if sys.platform != "linux":
        return False
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is None:
        return False
    return bool(tell(_M_TRIM_THRESHOLD, _KEPT_BYTES)) and bool(tell(_M_MMAP_THRESHOLD, _MAPPED_BYTES))
