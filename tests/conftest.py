"""Fixtures for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.nats import NatsServer
from tests.support.system import System, running_system


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
