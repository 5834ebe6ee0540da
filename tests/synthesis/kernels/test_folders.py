"""Which folder of kernels is opened: images carry kernels that were built on another machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.synthesis.kernels import load as kernels


@pytest.fixture(params=["x86-64-v4", "x86-64-v3", "aarch64"])
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The processor's instruction set."""
    isa: str = request.param
    monkeypatch.setattr(kernels, "instruction_set", lambda: isa)
    return isa


def fill(cache: Path, isa: str) -> Path:
    folder = cache / kernels.kernel_key(isa)
    folder.mkdir(parents=True)
    for name in kernels.KERNEL_NAMES:
        (folder / f"{name}.pt2").touch()
    return folder


def test_a_processor_opens_its_own_kernels_first(isa: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "find_compiler", lambda: None)
    for each in ("x86-64-v4", "x86-64-v3", "x86-64", "aarch64"):
        fill(tmp_path, each)
    assert kernels._folder(tmp_path) == tmp_path / kernels.kernel_key(isa)


def test_without_a_compiler_the_best_that_the_processor_runs_is_opened(
    isa: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "find_compiler", lambda: None)
    oldest = fill(tmp_path, "x86-64")
    # Without this file it is not whole.
    (fill(tmp_path, "x86-64-v3") / "wet.pt2").unlink()
    expected = oldest if isa != "aarch64" else tmp_path / kernels.kernel_key(isa)
    assert kernels._folder(tmp_path) == expected


def test_a_processor_is_never_given_what_it_cannot_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "find_compiler", lambda: None)
    monkeypatch.setattr(kernels, "instruction_set", lambda: "x86-64-v3")
    fill(tmp_path, "x86-64-v4")
    assert kernels._folder(tmp_path) == tmp_path / kernels.kernel_key("x86-64-v3")


def test_with_a_compiler_its_own_kernels_are_built(isa: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "find_compiler", lambda: "/usr/bin/g++")
    fill(tmp_path, "x86-64")
    assert kernels._folder(tmp_path) == tmp_path / kernels.kernel_key(isa)
