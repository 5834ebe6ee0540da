"""Pure. From the host to the device, without waiting for the kernels that run there."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def upload(array: NDArray[np.generic], device: torch.device) -> Tensor:
    """`array` on `device`; on a CPU it shares the array's memory."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        # A copy from pageable memory, as `torch.tensor` makes it, lets the host wait for all kernels before it.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def upload_index(places: list[int] | list[list[int]], device: torch.device) -> Tensor:
    """Indices for `index_select` and the like: int64 on `device`."""
    return upload(np.array(places, dtype=np.int64), device)
