"""Listeners that keep every chunk that they receive, for the judge of the fault suite."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from services.client import Client, ClientError
from services.client.backoff import Backoff
from services.client.session import Chunk, Event, Format, Hello, Splice, Status
from services.contract.spec import StreamSpec
from tests.support.waiting import until

QUICK: Final = Backoff(first_s=0.05, max_s=0.5)


@dataclass(frozen=True, slots=True)
class Heard:
    """A chunk as it arrived."""

    id: int
    pcm: bytes = field(repr=False)
    depth: int
    at_s: float


class Recorder:
    """One listener.

    Args:
        url: of an edge or of a proxy before it.
        spec: what it listens to.
        format: as the client's; only "pcm" and "json" can be compared byte for byte.
        events: ask for hello, status and splice.
    """

    def __init__(self, url: str, spec: StreamSpec, *, format: Format = "pcm", events: bool = True) -> None:  # noqa: A002 - as the client's
        self.spec = spec
        self.format = format
        self.client = Client(url, spec, format=format, events=events, reconnect=QUICK, on_event=self._note)
        self.arrived: list[Heard] = []
        self.played: list[tuple[int, bytes]] = []
        self.states: list[tuple[str, float]] = []
        self.moves: list[tuple[int, int]] = []
        """(chunks before it, by how much smaller the ids are from there on): jumps of the edge's clock."""
        self.recovered: list[bool] = []
        self.splices: list[tuple[int, float]] = []
        self.problem = ""
        self.ended_s: float | None = None
        """When it stopped listening, monotonic; None: with its last chunk."""
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._task = asyncio.create_task(self._listen())

    async def end(self) -> None:
        assert self._task is not None
        self.ended_s = time.monotonic()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def heard(self, chunks: int, within_s: float = 30.0) -> None:
        """Wait until `chunks` chunks have arrived in all."""
        await until(lambda: self.problem or len(self.arrived) >= chunks, within_s)
        assert not self.problem, self.problem

    async def _listen(self) -> None:
        try:
            async with self.client as client:
                async for chunk in client:
                    self.played.append((chunk.chunk_id, chunk.pcm))
        except ClientError as error:
            self.problem = str(error)

    def _note(self, event: Event) -> None:
        now_s = time.monotonic()
        match event:
            case Chunk():
                self.arrived.append(Heard(event.chunk_id, event.pcm, event.buffer_depth, event.received_s))
            case Status():
                self.states.append((event.state, now_s))
                if event.moved:
                    self.moves.append((len(self.arrived), -event.moved))
            case Splice():
                self.splices.append((event.chunk_id, now_s))
            case Hello():
                if event.recovered is not None:
                    self.recovered.append(event.recovered)
            case _:
                pass


@contextlib.asynccontextmanager
async def recorders(
    url: str, seeds: Iterable[int], *, chunks: int = 20, **options: Any
) -> AsyncIterator[list[Recorder]]:
    """Recorders of one stream each; all have received `chunks` chunks when the block begins."""
    listening = [Recorder(url, StreamSpec.from_params({"seed": seed}), **options) for seed in seeds]
    async with recording(listening, chunks=chunks):
        yield listening


@contextlib.asynccontextmanager
async def recording(listening: Sequence[Recorder], *, chunks: int = 20) -> AsyncIterator[None]:
    """Run these recorders; each has received `chunks` chunks when the block begins."""
    for recorder in listening:
        recorder.begin()
    try:
        for recorder in listening:
            await recorder.heard(chunks)
        yield
    finally:
        for recorder in listening:
            await recorder.end()
