from __future__ import annotations

import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from services.synthesis.dsp import control
from services.synthesis.dsp.control import COLUMNS, WORDS
from services.synthesis.kernels.kernel import Kernels
from services.synthesis.kernels.package import KernelRunError, Package
from tests.synthesis.conftest import BUILD_TIMEOUT_S
from tests.synthesis.listening import closed_form_tables, expanded, some_partials


def _arguments(rows: int = 4, partials: int = 40) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(rows)
    words = torch.zeros((rows, WORDS, partials), dtype=torch.int32)
    words[:, :2] = torch.randint(-(2**31), 2**31 - 1, (rows, 2, partials), dtype=torch.int32, generator=generator)
    return torch.rand((rows, COLUMNS, partials), generator=generator), words, *closed_form_tables()


@pytest.mark.timeout(BUILD_TIMEOUT_S)
def test_a_kernel_leaves_its_arguments_alone_and_gives_what_eager_gives(compiled_kernels: Kernels) -> None:
    partials = some_partials(24, low_hz=60.0, high_hz=4_000.0)
    arguments = expanded(*partials)
    copies = [tensor.clone() for tensor in arguments]
    results = compiled_kernels.expand(*arguments)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(arguments, copies, strict=True))
    for result, expected in zip(results, control.expand(*arguments), strict=True):
        assert torch.allclose(result, expected, atol=1e-4)


@pytest.mark.timeout(BUILD_TIMEOUT_S)
def test_other_threads_run_while_a_kernel_runs(compiled_kernels: Kernels) -> None:
    points = compiled_kernels.expand(*_arguments(64, 400))

    def render() -> None:
        # One long call: between calls the lock is handed over either way.
        compiled_kernels.low(*points)

    began = time.perf_counter()
    beside_kernels = _counted_during(render)
    seconds = time.perf_counter() - began
    # A real pause as long as the kernel ran: the counter alone.
    beside_nothing = _counted_during(lambda: time.sleep(seconds))
    # A kernel that keeps the interpreter's lock leaves others a tenth at most; one core shared by both, a half.
    assert beside_kernels > 0.25 * beside_nothing


def _counted_during(work: Callable[[], None]) -> int:
    """How far another thread counts while `work` runs."""
    done = threading.Event()
    counted: list[int] = []

    def count() -> None:
        number = 0
        while not done.is_set():
            number += 1
        counted.append(number)

    other = threading.Thread(target=count)
    other.start()
    try:
        work()
    finally:
        done.set()
        other.join()
    return counted[0]


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
