"""Which folder of kernels is opened: images carry kernels that were built on another machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.synthesis.kernels import cache
from services.synthesis.kernels.cache import choose_folder, kernel_key
from services.synthesis.kernels.kernel import KERNEL_NAMES


@pytest.fixture(params=["x86-64-v4", "x86-64-v3", "aarch64"])
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The processor's instruction set."""
    isa: str = request.param
    monkeypatch.setattr(cache, "instruction_set", lambda: isa)
    return isa


def fill(root: Path, isa: str) -> Path:
    folder = root / kernel_key(isa)
    folder.mkdir(parents=True)
    for name in KERNEL_NAMES:
        (folder / f"{name}.pt2").touch()
    return folder


def test_a_processor_opens_its_own_kernels_first(isa: str, tmp_path: Path) -> None:
    for each in ("x86-64-v4", "x86-64-v3", "x86-64", "aarch64"):
        fill(tmp_path, each)
    assert choose_folder(tmp_path, can_build=False) == tmp_path / kernel_key(isa)


def test_without_a_compiler_the_best_that_the_processor_runs_is_opened(isa: str, tmp_path: Path) -> None:
    oldest = fill(tmp_path, "x86-64")
    # Without this file it is not whole.
    (fill(tmp_path, "x86-64-v3") / "wet.pt2").unlink()
    expected = oldest if isa != "aarch64" else tmp_path / kernel_key(isa)
    assert choose_folder(tmp_path, can_build=False) == expected


def test_a_processor_is_never_given_what_it_cannot_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "instruction_set", lambda: "x86-64-v3")
    fill(tmp_path, "x86-64-v4")
    assert choose_folder(tmp_path, can_build=False) == tmp_path / kernel_key("x86-64-v3")


def test_with_a_compiler_its_own_kernels_are_built(isa: str, tmp_path: Path) -> None:
    fill(tmp_path, "x86-64")
    assert choose_folder(tmp_path, can_build=True) == tmp_path / kernel_key(isa)
