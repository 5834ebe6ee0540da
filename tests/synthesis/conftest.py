"""Renderers for the tests of the sound."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from services.synthesis.kernels.child_builds import find_compiler
from services.synthesis.kernels.kernel import Kernels
from services.synthesis.kernels.load import load_kernels
from services.synthesis.render.renderer import Renderer

CPU = torch.device("cpu")
BUILD_TIMEOUT_S = 900
"""A test that asks for compiled kernels may be the one that has to build them."""


@pytest.fixture(scope="session")
def compiled_kernels() -> Kernels:
    """The packages of this machine's cache; built if they are missing. Skips only on a machine without a compiler."""
    kernels = load_kernels(CPU, enable_compile=True)
    if kernels.mode != "compiled":
        if find_compiler() is None:
            pytest.skip(f"no compiled kernels here: {kernels.reason}")
        pytest.fail(f"there is a compiler, but no compiled kernels: {kernels.reason}")
    return kernels


@pytest.fixture(scope="session")
def compiled(compiled_kernels: Kernels) -> Iterator[Renderer]:
    """A compiled renderer; what it keeps between tests changes no sample."""
    assert compiled_kernels.mode == "compiled"
    renderer = Renderer(CPU, max_streams=64)
    renderer.warm_up()
    yield renderer
    renderer.close()


@pytest.fixture(scope="session")
def renderer() -> Iterator[Renderer]:
    """The fastest renderer that this machine has, for tests of what holds in both modes."""
    renderer = Renderer(CPU, max_streams=64)
    renderer.warm_up()
    yield renderer
    renderer.close()


@pytest.fixture
def eager() -> Renderer:
    """A fresh eager renderer: nothing kept."""
    return Renderer(CPU, enable_compile=False, max_streams=8)
