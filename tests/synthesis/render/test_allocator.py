from __future__ import annotations

import subprocess
import sys

import pytest

_BATCHES = """
import resource, sys, threading
import numpy as np
from services.synthesis.render.allocator import keep_freed_memory

told = sys.argv[1] == "told" and keep_freed_memory()
faults = []

def batches():
    for _ in range(20):
        # What the kernels of a batch leave behind, all of it free before the next one.
        parts = [np.ones(2**20) for _ in range(6)]
        del parts
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)

thread = threading.Thread(target=batches)
thread.start()
thread.join()
print(int(told), faults[-1] - faults[4])
"""


def _page_faults(word: str) -> tuple[bool, int]:
    result = subprocess.run([sys.executable, "-c", _BATCHES, word], capture_output=True, text=True, check=True)
    told, faults = result.stdout.split()
    return told == "1", int(faults)


def test_memory_that_a_batch_has_freed_is_still_there_for_the_next() -> None:
    told, faults = _page_faults("told")
    if not told:
        pytest.skip("the C library's allocator has no mallopt")
    # Fifteen batches of 48 MB: 184,320 pages of 4 KB if each of them came anew.
    assert faults < 2_000
