from __future__ import annotations

import numpy as np
import pytest
import torch

from services.synthesis.render.readback import Readback


def test_on_a_cpu_results_are_there_at_once() -> None:
    readback = Readback(torch.device("cpu"))
    tensors = [torch.arange(6).reshape(2, 3), torch.rand(4)]
    collect = readback.start(tensors)
    assert not readback.waits
    for array, tensor in zip(collect(), tensors, strict=True):
        assert np.array_equal(array, tensor.numpy())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: copies that overlap cannot be tried here")
def test_on_a_gpu_the_copy_holds_what_the_tensor_held_when_it_began() -> None:
    device = torch.device("cuda")
    readback = Readback(device)
    assert readback.waits
    rounds = []
    for number in range(20):
        tensor = torch.full((1 << 20,), number, device=device)
        rounds.append(readback.start([tensor]))
        del tensor
    for number, collect in enumerate(rounds):
        assert (collect()[0] == number).all()
