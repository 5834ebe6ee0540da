"""From the host to the device: on CUDA without waiting for what the device is doing."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def upload(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """`array` on `device`; on a CPU it shares the array's memory."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        # Out of pageable memory, as `torch.tensor` does it, a copy begins when all kernels asked for before have ended,
        # and the host waits for that.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def upload_index(places: list[int] | list[list[int]], device: torch.device) -> Tensor:
    """Whole numbers for `index_select` and the like, int64 on `device`."""
    return upload(np.array(places, dtype=np.int64), device)
