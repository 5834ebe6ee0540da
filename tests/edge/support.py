"""Helpers for tests of the edge: a clock that stands still, tones that identify their stream, a small renderer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import lru_cache
from typing import Self

import numpy as np

from services.contract import subjects
from services.contract.block import Block, Chord, stream_hash
from services.contract.job import RenderJob
from services.contract.presence import Presence
from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCK_FRAMES, CHUNK_FRAMES, SAMPLE_RATE_HZ, first_tick
from services.edge.app import create_app
from services.edge.server import SERVER_OPTIONS
from services.edge.service import EdgeService
from services.runtime.bus import Bus, Message
from services.runtime.bus.memory import MemoryBroker, MemoryBus
from services.runtime.clock import Clock
from services.runtime.http.server import EmbeddedServer, bind_socket
from services.runtime.settings import EdgeSettings, Settings
from tests.support.waiting import until

SPEC = StreamSpec()
NOW_S = 1_763_900_000.05
"""Just after a block begins."""
LIVE = int(NOW_S * 10)
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
"""The bytes of a request for `/ws`."""


class StillClock:
    """A clock that only the test moves."""

    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s
        self.shift_s = 0.0
        self.jumps_s: list[float] = []
        """Jumps that `jump` will make, the next one first."""

    def now(self) -> float:
        return self.now_s

    def jump(self) -> float:
        jumped_s = self.jumps_s.pop(0) if self.jumps_s else 0.0
        self.shift_s += jumped_s
        return jumped_s

    def forward(self, seconds: float) -> None:
        self.now_s += seconds


def pitch_hz(stream_id: str, revision: str = "r1") -> int:
    """The tone of a stream."""
    return 200 + 10 * (stream_hash(stream_id)[0] % 40) + (300 if revision != "r1" else 0)


@lru_cache(maxsize=512)
def pcm_of(stream_id: str, block: int, revision: str = "r1", *, marked: bool = True) -> bytes:
    """A second of a tone that belongs to the stream and revision, continuous over blocks."""
    tone_hz = pitch_hz(stream_id, revision)
    frame = np.arange(BLOCK_FRAMES) + (block % 1000) * BLOCK_FRAMES
    wave = 8000 * np.sin(2 * np.pi * tone_hz * frame / SAMPLE_RATE_HZ)
    samples = np.repeat(np.round(wave).astype("<i2"), 2)
    # The last frame of each chunk carries its number, so a test can tell which chunk it got.
    for chunk in range(10) if marked else ():
        samples[2 * CHUNK_FRAMES * (chunk + 1) - 1] = (10 * block + chunk) % 30000
    return samples.tobytes()


def block(number: int, spec: StreamSpec = SPEC, revision: str = "r1", *, marked: bool = True) -> Block:
    """A rendered block."""
    return Block(
        stream_hash=stream_hash(spec.stream_id),
        revision=revision,
        first_tick=first_tick(number),
        pcm=memoryview(pcm_of(spec.stream_id, number, revision, marked=marked)),
        peak=0.25,
        rms=0.17,
        render_s=0.01,
        chords=(Chord(0, "Am9"), Chord(5, "Fmaj7")),
    )


def presence(**changes: object) -> Presence:
    """A worker that is ready."""
    base = Presence(
        instance="w1", revision="r1", sound_version=1, state="ready", capacity_streams=100, mode="eager", device="cpu"
    )
    return replace(base, **changes)  # type: ignore[arg-type]


class TinyRenderer:
    """Answers render jobs as a worker does, with `pcm_of`.

    Attributes:
        jobs: every job it took: (lane, stream id, block, attempt).
        delay_s: how long a batch takes.
        silent: it takes jobs and never answers.
        marked: chunks carry their number, which is heard as a click.
    """

    def __init__(self, bus: MemoryBroker | Bus, *, revision: str = "r1", sound_version: int = 1) -> None:
        self.bus: Bus = MemoryBus(bus) if isinstance(bus, MemoryBroker) else bus
        self.presence = presence(instance=f"w-{revision}", revision=revision, sound_version=sound_version)
        self.jobs: list[tuple[str, str, int, int]] = []
        self.delay_s = 0.0
        self.silent = False
        self.marked = True
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.bus.connect()
        await self.bus.subscribe(subjects.ROLL_CALL, self._called)
        self._tasks = [asyncio.create_task(self._say())]
        for lane in subjects.LANES:
            self._tasks.append(asyncio.create_task(self._work(lane)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.bus.close()

    def _called(self, _: Message) -> None:
        self._tasks.append(asyncio.ensure_future(self._announce()))

    async def _announce(self) -> None:
        with contextlib.suppress(Exception):
            await self.bus.publish(subjects.PRESENCE, self.presence.encode())

    async def _say(self) -> None:
        while True:
            await self._announce()
            await asyncio.sleep(1.0)  # as often as a worker announces itself

    async def _work(self, lane: subjects.Lane) -> None:
        revision = self.presence.revision
        source = await self.bus.jobs(
            subjects.render_consumer(revision, lane), subjects.render_filter(revision, lane), ack_wait_s=1.0
        )
        while True:
            for taken in await source.fetch(16, 1.0):
                job = RenderJob.decode(taken.data)
                self.jobs.append((lane, job.spec.stream_id, job.block, job.attempt))
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)  # the time that a batch takes
                await taken.ack()
                if self.silent:
                    continue
                data = block(job.block, job.spec, revision, marked=self.marked).encode()
                with contextlib.suppress(Exception):
                    await self.bus.publish(subjects.audio(job.spec.stream_id), data)


class Edge:
    """A running edge."""

    def __init__(self, service: EdgeService, port: int) -> None:
        self.service = service
        self.port = port

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ready(self) -> Self:
        """Wait until it has found the bus and a renderer."""
        await until(lambda: self.service.health.ready)
        return self

    def metric(self, name: str, **labels: str) -> float:
        value = self.service.metrics.registry.get_sample_value(name, labels)
        assert value is not None, name
        return value


@contextlib.asynccontextmanager
async def running_edge(
    broker: MemoryBroker | None,
    *,
    plain: bool = False,
    settings: Settings | None = None,
    clock: Clock | None = None,
    port: int = 0,
    **edge: object,
) -> AsyncIterator[Edge]:
    """An edge on a free port.

    Args:
        broker: None: the bus stays away.
        plain: without the edge's own protocols, as under `uvicorn services.main:app`.
        settings: the rest.
        port: to listen on; 0: a free one.
        edge: fields of EdgeSettings.
    """
    if broker is None:
        broker = MemoryBroker()
        broker.go_away()
    settings = settings or Settings(port=0, metrics_port=0)
    settings = replace(settings, edge=replace(EdgeSettings(drain_s=1.0), **edge))  # type: ignore[arg-type]
    service = EdgeService(settings, bus=MemoryBus(broker), clock=clock)
    options = {"lifespan": "on", "http": "auto", "ws": "auto"} if plain else SERVER_OPTIONS
    server = EmbeddedServer(create_app(lambda: service), bind_socket("127.0.0.1", port), guard=service.guard, **options)
    await server.start()
    try:
        yield Edge(service, server.port)
    finally:
        await server.stop(grace_s=1)
