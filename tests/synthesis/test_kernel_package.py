from __future__ import annotations

import sys
import threading
import zipfile
from pathlib import Path

import psutil
import pytest
import torch

from services.synthesis.dsp import control
from services.synthesis.dsp.control import COLUMNS
from services.synthesis.kernel_package import KernelRunError, Package
from services.synthesis.kernels import Kernels
from tests.synthesis.conftest import BUILD_TIMEOUT_S
from tests.synthesis.listening import some_partials


def _arguments(rows: int = 4, partials: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    phases = torch.randint(-(2**31), 2**31 - 1, (rows, 2, partials), dtype=torch.int32, generator=generator)
    return torch.rand((rows, COLUMNS, partials), generator=generator), phases


@pytest.mark.timeout(BUILD_TIMEOUT_S)
def test_a_kernel_leaves_its_arguments_alone_and_gives_what_eager_gives(compiled_kernels: Kernels) -> None:
    partials = some_partials(24, low_hz=60.0, high_hz=4_000.0)
    arguments = tuple(torch.from_numpy(array.T.copy())[None] for array in partials)
    copies = [tensor.clone() for tensor in arguments]
    results = compiled_kernels.expand(*arguments)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(arguments, copies, strict=True))
    for result, expected in zip(results, control.expand(*arguments), strict=True):
        assert torch.allclose(result, expected, atol=1e-4)


@pytest.mark.timeout(BUILD_TIMEOUT_S)
def test_other_threads_run_while_a_kernel_runs(compiled_kernels: Kernels) -> None:
    turns, gains = compiled_kernels.expand(*_arguments(64, 400))
    done = threading.Event()
    counted: list[int] = []

    def count() -> None:
        number = 0
        while not done.is_set():
            number += 1
        counted.append(number)

    other = threading.Thread(target=count)
    # A thread that has the interpreter's lock keeps it so long: none is handed over while the kernel runs with it.
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        other.start()
        for _ in range(3):
            compiled_kernels.low(turns, gains)
    finally:
        done.set()
        other.join()
        sys.setswitchinterval(interval_s)
    assert counted[0] > 20_000


@pytest.mark.timeout(BUILD_TIMEOUT_S)
def test_calls_keep_no_memory(compiled_kernels: Kernels) -> None:
    arguments = _arguments(16, 100)
    process = psutil.Process()
    for _ in range(20):
        compiled_kernels.expand(*arguments)
    before = process.memory_info().rss
    for _ in range(200):
        compiled_kernels.expand(*arguments)
    # Each call's results are 20 MB: a reference too many would show at once.
    assert process.memory_info().rss - before < 100 * 2**20


def test_a_package_without_a_library_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "nothing")
    with pytest.raises(KernelRunError, match="got 0 libraries, expected 1"):
        Package(path, 1)
