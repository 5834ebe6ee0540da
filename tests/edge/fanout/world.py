"""A hub whose clock stands still, and a bus on which the test itself is the renderer: ticks are called by hand."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from services.contract import subjects
from services.contract.spec import StreamSpec
from services.contract.timebase import tick_at
from services.edge.fanout.connection import Connection
from services.edge.fanout.hub import Hub
from services.edge.listener.payloads import Format, Payload
from services.edge.listener.settings import ListenerSettings
from services.edge.listener.tiers import TierLimits
from services.edge.metrics import EdgeMetrics
from services.edge.streaming_server import StreamingServer
from services.runtime.bus.memory import MemoryBroker, MemoryBus
from services.runtime.health import Health
from services.runtime.metrics import PrometheusMetrics
from services.runtime.settings import EdgeSettings
from tests.edge.support import SPEC, StillClock, block, presence

LISTENERS = ListenerSettings(
    tiers=TierLimits.clamped("normal", min_capacity_ms=200, max_capacity_ms=3000),
    chunks_per_s=50,
    secret=b"s",
    # A buffer is filled immediately, so that no test waits for it.
    fill_chunks=25,
    fill_chunks_per_s=1000,
)


class FakeTransport:
    """A transport that keeps what it is sent."""

    raw_socket = None

    def __init__(self) -> None:
        self.payloads: list[Payload] = []
        self.closed: tuple[int, str] | None = None
        self.backlog = 0
        self.wants_writable = False
        self.on_stall: Callable[[], None] = lambda: None

    async def stall(self, backlog: int) -> None:
        self.backlog = backlog
        self.on_stall()
        await settle()

    def send(self, payload: Payload) -> None:
        self.payloads.append(payload)

    def send_all(self, payloads: Sequence[Payload]) -> None:
        self.payloads.extend(payloads)

    def backlog_bytes(self) -> int:
        return self.backlog

    def round_trip_s(self) -> float:
        return 0.0

    def notify_when_writable(self) -> None:
        self.wants_writable = True

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    @property
    def chunks(self) -> list[int]:
        return [payload.chunk_id for payload in self.payloads if payload.chunk_id >= 0]

    def events(self, kind: str) -> list[dict[str, Any]]:
        bodies = [json.loads(payload.data) for payload in self.payloads if payload.chunk_id < 0]
        return [body for body in bodies if body["type"] == kind]


class World:
    """See the module's text.

    Attributes:
        bus: the hub's.
        other: the test's.
    """

    def __init__(self, broker: MemoryBroker, **settings: Any) -> None:
        self.clock = StillClock()
        self.broker = broker
        self.bus = MemoryBus(broker)
        self.other = MemoryBus(broker)
        self.metrics = PrometheusMetrics()
        self.health = Health()
        self.server = StreamingServer(self.clock)
        self.hub = Hub(
            replace(EdgeSettings(), **settings),
            LISTENERS,
            bus=self.bus,
            clock=self.clock,
            metrics=EdgeMetrics(self.metrics),
            health=self.health,
            instance="edge-1",
            server=self.server,
        )

    def listen(
        self, spec: StreamSpec = SPEC, *, events: bool = False, format_: Format = Format.JSON
    ) -> tuple[Connection, FakeTransport]:
        """Connect a listener and start `spec`."""
        connection = self.hub.connect(format_=format_, events=events, address="a")
        transport = FakeTransport()
        transport.on_stall = lambda: self.hub.on_stall(connection)
        connection.transport = transport
        self.say(connection, "start", **spec.to_params())
        return connection, transport

    def say(self, connection: Connection, action: str, **params: object) -> None:
        self.hub.receive(connection, json.dumps({"type": "control", "action": action, "params": params}))

    async def render(self, *offsets: int, spec: StreamSpec = SPEC) -> None:
        """Publish blocks; offsets count from the live one."""
        for offset in offsets:
            number = int(self.clock.now_s) + offset
            await self.other.publish(subjects.audio(spec.stream_id), block(number, spec).encode())
        await settle()

    async def announce(self, **changes: object) -> None:
        """Have a renderer announce itself."""
        await self.other.publish(subjects.PRESENCE, presence(**changes).encode())
        await settle()

    async def tick(self, count: int = 1) -> None:
        for _ in range(count):
            live = tick_at(self.clock.now_s) + 1
            self.clock.now_s = live / 10 + 0.0001
            self.hub.ticker.tick(live)
        await settle()

    def in_cohort(self, connection: Connection) -> bool:
        """Whether a listener shares its writes with others."""
        return connection in self.hub.crowd._cohort_of

    def asks(self) -> list[str]:
        """Message ids of all asks so far."""
        return self.broker.queue.message_ids

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def settle() -> None:
    """Let all tasks that can run do so."""
    for _ in range(30):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def world(broker: MemoryBroker | None = None, **settings: Any) -> AsyncIterator[World]:
    """A hub that runs, except that the test moves its time.

    Args:
        broker: None: a new one.
        settings: fields of EdgeSettings.
    """
    made = World(broker or MemoryBroker(), **settings)
    await made.other.connect()
    never: Callable[[], Awaitable[None]] = asyncio.Event().wait  # type: ignore[assignment]
    made.hub.ticker.run = never  # type: ignore[method-assign, assignment]
    await made.hub.start()
    await settle()
    try:
        yield made
    finally:
        await made.hub.stop()
        await made.bus.close()
        await made.other.close()
