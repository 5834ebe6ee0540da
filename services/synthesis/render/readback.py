"""Pure. From the device to the host; on a GPU, while the next kernels run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.synthesis.dsp.grid import QUARTER

Arrays = list[NDArray[np.generic]]


class Readback:
    """Copies results to the host.

    On CUDA the copies have a stream of their own and go into pinned memory, so that they overlap with the next group's
    kernels. On other devices there is nothing to overlap with.

    Args:
        device: where the tensors are.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self.waits = self._stream is not None
        """Whether a copy takes time after `start`, so that it is better collected late."""

    def start(self, tensors: Sequence[Tensor]) -> Callable[[], Arrays]:
        """Begin to copy.

        Returns:
            A call that waits for the copies and returns them.
        """
        if self._stream is None:
            arrays: Arrays = [tensor.cpu().numpy() for tensor in tensors]
            return lambda: arrays
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        pinned = []
        with torch.cuda.stream(self._stream):
            for tensor in tensors:
                host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                host.copy_(tensor, non_blocking=True)
                # Keeps the allocator from giving the memory to another kernel before it is copied.
                tensor.record_stream(self._stream)
                pinned.append(host)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(self._stream)

        def collect() -> Arrays:
            done.synchronize()
            return [host.numpy() for host in pinned]

        return collect


def interleave(pairs: NDArray[np.int64], frames: NDArray[np.int32]) -> None:
    """Put a block's frames into playing order.

    Args:
        pairs: [QUARTER // 2, QUARTER_BLOCK] from `level.finish`: two frames each.
        frames: [BLOCK_FRAMES], written.
    """
    ordered = frames.view(np.int64)
    for place, part in enumerate(pairs):
        ordered[place :: QUARTER // 2] = part
