"""A real server, the buses of one test, and a plain client to look and meddle from outside."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from nats.aio.client import Client

from services.runtime.bus.limits import BusLimits
from services.runtime.bus.nats import NatsBus
from services.runtime.metrics import BusMetrics, PrometheusMetrics
from services.runtime.settings import NatsSettings
from tests.support.nats import NatsServer

BLOCK = bytes(176_400)


class Fleet:
    """Buses of one test, closed at its end."""

    def __init__(self) -> None:
        self.buses: list[NatsBus] = []

    def bus(self, url: str, *, limits: BusLimits | None = None, **settings: Any) -> NatsBus:
        bus = NatsBus(
            NatsSettings(url=url, **settings), name="test", metrics=BusMetrics(PrometheusMetrics()), limits=limits
        )
        self.buses.append(bus)
        return bus


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    fleet = Fleet()
    yield fleet
    for bus in fleet.buses:
        await bus.close()
    assert len(asyncio.all_tasks()) == 1, f"tasks left behind: {asyncio.all_tasks()}"


@pytest.fixture
async def admin(nats_server: NatsServer) -> AsyncIterator[Client]:
    """A plain client, to look and meddle from outside."""
    client = Client()
    await client.connect(nats_server.url)
    yield client
    await client.close()


async def api(client: Client, operation: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    message = await client.request(f"$JS.API.{operation}", json.dumps(body or {}).encode(), timeout=2)
    answer: dict[str, Any] = json.loads(message.data)
    return answer


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    with structlog.testing.capture_logs() as entries:
        yield entries
