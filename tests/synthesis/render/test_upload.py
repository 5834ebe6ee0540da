from __future__ import annotations

import numpy as np
import pytest
import torch

from services.contract.spec import StreamSpec
from services.synthesis.render.renderer import Renderer
from services.synthesis.render.upload import upload, upload_index
from tests.synthesis.conftest import CPU


def test_on_a_cpu_nothing_is_copied() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = upload(array, CPU)
    array[1, 2] = 9.0
    assert tensor[1, 2] == 9.0


def test_places_become_an_index() -> None:
    assert torch.equal(upload_index([[1, 2], [3, 4]], CPU), torch.tensor([[1, 2], [3, 4]]))
    assert upload_index([], CPU).dtype == torch.int64


def test_rendering_makes_no_tensor_by_a_call_that_waits_for_the_device(
    eager: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> torch.Tensor:
        raise AssertionError("torch.tensor waits until the device has done everything: use upload")

    jobs = [(StreamSpec(intensity_steps=steps), 1_700_000_000) for steps in (2, 18)]
    eager.warm_up()
    with monkeypatch.context() as patch:
        patch.setattr(torch, "tensor", refuse)
        assert eager.render(jobs).silenced == ()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: waits for it cannot be found here")
def test_on_a_gpu_nothing_waits_until_the_samples_are_collected() -> None:
    renderer = Renderer(torch.device("cuda"), max_streams=64)
    jobs = [(StreamSpec(seed=seed, intensity_steps=2 * seed), 1_700_000_000) for seed in range(8)]
    renderer.render(jobs)
    torch.cuda.set_sync_debug_mode("error")
    try:
        renderer.render([(spec, block + 1) for spec, block in jobs])
    finally:
        torch.cuda.set_sync_debug_mode("default")
        renderer.close()
