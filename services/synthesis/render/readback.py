"""From the device to the host: at once on a CPU; on a GPU behind the kernels, while the next ones run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays = list[NDArray[np.generic]]


class Readback:
    """Copies results to the host without making the host wait for each.

    On CUDA the copies go through a stream of their own into pinned memory, so that they overlap with the kernels of the
    next group; on other devices there is nothing to overlap with.

    Args:
        device: where the tensors are.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self.waits = self._stream is not None
        """Whether something is gained by collecting late."""

    def start(self, tensors: Sequence[Tensor]) -> Callable[[], Arrays]:
        """Begin to copy; calling what is returned waits for the copies and gives them as arrays."""
        if self._stream is None:
            arrays: Arrays = [tensor.cpu().numpy() for tensor in tensors]
            return lambda: arrays
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        pinned = []
        with torch.cuda.stream(self._stream):
            for tensor in tensors:
                host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                host.copy_(tensor, non_blocking=True)
                # Its memory may not be given to another kernel before it is copied.
                tensor.record_stream(self._stream)
                pinned.append(host)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(self._stream)

        def collect() -> Arrays:
            done.synchronize()
            return [host.numpy() for host in pinned]

        return collect
