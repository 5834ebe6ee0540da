"""Fixtures for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.nats import NatsServer


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    """A fresh, empty nats-server with JetStream on a free port."""
    server = NatsServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
