"""Renderers for the tests of the sound."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from services.synthesis.kernels.kernel import Kernels
from services.synthesis.kernels.load import load_kernels
from services.synthesis.render.renderer import Renderer

CPU = torch.device("cpu")
BUILD_TIMEOUT_S = 900
"""A test that asks for compiled kernels may be the one that has to build them."""


@pytest.fixture(autouse=True, scope="module")
def _denormals_come_back() -> Iterator[None]:
    """A renderer flushes denormals in its thread; hypothesis rightly refuses to make floats in such a one."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def compiled_kernels() -> Kernels:
    """The packages of this machine's cache; built when they are missing."""
    kernels = load_kernels(CPU, enable_compile=True)
    if kernels.mode != "compiled":
        pytest.skip(f"no compiled kernels here: {kernels.reason}")
    return kernels


@pytest.fixture(scope="session")
def compiled(compiled_kernels: Kernels) -> Iterator[Renderer]:
    """A compiled renderer; what it keeps between tests must not be heard."""
    assert compiled_kernels.mode == "compiled"
    renderer = Renderer(CPU, max_streams=64)
    renderer.warm_up()
    yield renderer
    renderer.close()


@pytest.fixture(scope="session")
def renderer() -> Iterator[Renderer]:
    """The quickest renderer that this machine has, for tests of what both make alike."""
    renderer = Renderer(CPU, max_streams=64)
    renderer.warm_up()
    yield renderer
    renderer.close()


@pytest.fixture
def eager() -> Renderer:
    """A fresh eager renderer: nothing kept."""
    return Renderer(CPU, enable_compile=False, max_streams=8)
