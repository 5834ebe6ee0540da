from __future__ import annotations

import pytest
import torch

from services.synthesis.device_selector import AutoDeviceSelector, DeviceError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    has = {"mps": False, "cuda": False}
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: has["mps"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: has["cuda"])
    return has


def test_a_machine_without_gpu_renders_on_its_cpu(machine: dict[str, bool]) -> None:
    assert not any(machine.values())
    assert AutoDeviceSelector().select_device() == torch.device("cpu")


@pytest.mark.parametrize(
    ("has", "expected"), [({"mps": True}, "mps"), ({"cuda": True}, "cuda"), ({"mps": True, "cuda": True}, "mps")]
)
def test_a_gpu_is_preferred(machine: dict[str, bool], has: dict[str, bool], expected: str) -> None:
    machine.update(has)
    assert AutoDeviceSelector().select_device().type == expected


def test_a_choice_is_obeyed(machine: dict[str, bool]) -> None:
    machine["cuda"] = True
    assert AutoDeviceSelector("cpu").select_device().type == "cpu"


def test_a_device_that_is_not_there_is_an_error_that_says_what_is(machine: dict[str, bool]) -> None:
    assert not machine["cuda"]
    with pytest.raises(DeviceError, match=r"got 'cuda', but there is no CUDA .* auto or to one of cpu"):
        AutoDeviceSelector("cuda").select_device()


@pytest.mark.parametrize(
    ("built_for", "reason"), [("13.2", "no NVIDIA GPU with a driver"), (None, "built without CUDA")]
)
def test_without_cuda_the_error_says_whether_the_driver_or_torch_lacks_it(
    machine: dict[str, bool], monkeypatch: pytest.MonkeyPatch, built_for: str | None, reason: str
) -> None:
    assert not machine["cuda"]
    monkeypatch.setattr("torch.version.cuda", built_for)
    with pytest.raises(DeviceError, match=reason):
        AutoDeviceSelector("cuda").select_device()
