"""The same suite runs over a real NATS and over the bus in memory."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from services.contract import subjects
from services.runtime.bus import Bus, JobSource
from services.runtime.bus.limits import BusLimits
from services.runtime.bus.memory import MemoryBroker, MemoryBus
from services.runtime.bus.memory.jobs import MemoryJobSource
from services.runtime.bus.nats import NatsBus
from services.runtime.bus.nats.job_source import NatsJobSource
from services.runtime.metrics import BusMetrics, PrometheusMetrics
from services.runtime.settings import NatsSettings
from tests.support.metrics import sample_value
from tests.support.nats import NatsServer
from tests.support.waiting import until

# Small, so that a test reaches a bound quickly; both adapters get the same.
LIMITS = BusLimits(
    render_max_age_s=2.0,
    render_max_bytes=20_000,
    subscription_messages=8,
    subscription_bytes=100_000,
    publish_backlog_bytes=400_000,
    late_jobs=4,
    gather_messages=8,
)

_tokens = itertools.count()


@dataclass
class World:
    """Buses of one adapter, and its server."""

    adapter: str
    make: Callable[[BusMetrics], Bus]
    restart_empty: Callable[[], Awaitable[None]]
    metrics: BusMetrics = field(default_factory=lambda: BusMetrics(PrometheusMetrics()))
    buses: list[Bus] = field(default_factory=list)

    async def bus(self) -> Bus:
        """Another connected bus."""
        bus = self.make(self.metrics)
        self.buses.append(bus)
        await bus.connect()
        return bus

    def dropped(self, policy: str) -> float:
        return sample_value(self.metrics.dropped, policy=policy)


def fresh(prefix: str) -> str:
    """A subject token that no other test uses."""
    return f"{prefix}-{next(_tokens)}"


async def jobs_of(bus: Bus, lane: subjects.Lane = "now", *, revision: str, ack_wait_s: float = 5.0) -> JobSource:
    """What a worker pulls from: one lane of one revision."""
    return await bus.jobs(
        subjects.render_consumer(revision, lane), subjects.render_filter(revision, lane), ack_wait_s=ack_wait_s
    )


async def stored(bus: Bus, subject: str, newest: bytes) -> None:
    """Wait until AUDIO keeps what was published last: it is stored beside delivery, not before."""

    async def is_stored() -> bool:
        return [message.data for message in await bus.history(subject, max_messages=1)] == [newest]

    await until(is_stored)


async def fetching(source: JobSource) -> None:
    """Wait until a fetch of `source` waits for jobs, at the server where there is one."""
    match source:
        case NatsJobSource():
            await until(lambda: source._pulls)
        case MemoryJobSource():
            await until(lambda: source._consumer.on_ready)


@pytest.fixture(params=["memory", "nats"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """One adapter after the other."""
    if request.param == "memory":
        broker = MemoryBroker(LIMITS)

        async def restart_memory() -> None:
            broker.go_away()
            await asyncio.sleep(0)
            broker.come_back()

        world = World("memory", lambda metrics: MemoryBus(broker, metrics), restart_memory)
    else:
        server: NatsServer = request.getfixturevalue("nats_server")
        settings = NatsSettings(url=server.url)

        async def restart_nats() -> None:
            await asyncio.to_thread(server.restart)

        world = World(
            "nats", lambda metrics: NatsBus(settings, name="test", metrics=metrics, limits=LIMITS), restart_nats
        )
    yield world
    for bus in world.buses:
        await bus.close()
    assert len(asyncio.all_tasks()) == 1, f"tasks left behind: {asyncio.all_tasks()}"
