"""Pure, but for one setting of this process: the C library's allocator keeps memory between batches."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

# From malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

_KEPT_BYTES: Final = 256 * 2**20
"""Free memory that is kept at the end of an arena: more than the kernels of one thread need."""
_MAPPED_BYTES: Final = 32 * 2**20
"""Larger allocations have pages of their own, which the system brings when they are written. Kernels make none."""


def keep_freed_memory() -> bool:
    """Stop the allocator from giving memory back to the system between two batches.

    By default it returns what a batch has freed, and the system brings every page again, zeroed, for the next batch:
    a hundred page faults for each stream and second, which take a tenth of the time.

    Returns:
        Whether it was set: only glibc's allocator has these settings.
    """
    if sys.platform != "linux":
        return False
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is None:
        return False
    return bool(tell(_M_TRIM_THRESHOLD, _KEPT_BYTES)) and bool(tell(_M_MMAP_THRESHOLD, _MAPPED_BYTES))
