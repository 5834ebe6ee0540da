"""Fixtures for every test."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.nats import NatsServer
from tests.support.system import System, running_system

# How long an example takes depends on who else is using the machine, so that is no property of the code.
settings.register_profile("auralis", deadline=None, print_blob=True)
settings.load_profile("auralis")


@pytest.fixture(autouse=True, scope="module")
def _denormals_come_back() -> Iterator[None]:
    """A renderer flushes denormals in its thread, in which hypothesis refuses to make floats."""
    yield
    # Only a module that imported torch can have rendered; importing it here would cost the others seconds.
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    """A fresh, empty nats-server with JetStream on a free port."""
    server = NatsServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """`auralis up`, shared by all tests that only listen."""
    with running_system() as running:
        yield running


@pytest.fixture
def stable_system() -> Iterator[System]:
    """`auralis up` whose listeners begin in tier "stable"."""
    with running_system(BUFFER_INITIAL_TIER="stable") as running:
        yield running
