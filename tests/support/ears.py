"""Listeners that keep everything they hear, and a judge of it: what was missing, doubled, silent, clicked or foreign.

The music is a pure function of spec and tick, so what each chunk should have been is rendered here, offline, with the
services' own renderer, and compared byte for byte. What differs must be what the edge is allowed to play instead: its
loop over the stream's own last bars, or a crossfade between the two. Anything else is a wrong stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np

from services.client import Client, ClientError
from services.client.client import Backoff
from services.client.session import Chunk, Event, Format, Hello, Splice, Status
from services.contract.spec import StreamSpec
from services.contract.timebase import CHANNELS, CHUNKS_PER_BLOCK, TICK_S, block_of, first_tick
from services.edge.stream.mixing import crossfade
from services.edge.stream.ring import MAX_LOOP_CHUNKS
from services.synthesis.device_selector import AutoDeviceSelector
from services.synthesis.render.renderer import Renderer
from tests.support.clicks import find_clicks

START_CHUNKS: Final = 2
"""A player begins with so many, as services.client and the page do."""
GAP_S: Final = 0.5
"""Chunks come every 100 ms; with so long between two of them something is wrong, heard or not."""
QUICK: Final = Backoff(first_s=0.05, max_s=0.5)


@dataclass(frozen=True, slots=True)
class Heard:
    """A chunk as it arrived, and as the player has it after joints were crossfaded."""

    id: int
    pcm: bytes = field(repr=False)
    depth: int
    at_s: float


class Ear:
    """One listener.

    Args:
        url: of an edge, or of what leads to one.
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
        self.recovered: list[bool] = []
        self.splices: list[tuple[int, float]] = []
        self.problem = ""
        self.ended_s: float | None = None
        """When it stopped listening; None: with its last chunk."""
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
        """Wait until so many have arrived in all."""
        try:
            async with asyncio.timeout(within_s):
                while len(self.arrived) < chunks:
                    assert not self.problem, self.problem
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"{len(self.arrived)} chunks in {within_s:g} s, expected {chunks}") from None

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
            case Splice():
                self.splices.append((event.chunk_id, now_s))
            case Hello():
                if event.recovered is not None:
                    self.recovered.append(event.recovered)
            case _:
                pass


@contextlib.asynccontextmanager
async def ears(url: str, seeds: Iterable[int], *, chunks: int = 20, **options: Any) -> AsyncIterator[list[Ear]]:
    """Listeners of a stream each, all of whom have heard `chunks` chunks when the block begins."""
    listening = [Ear(url, StreamSpec.from_params({"seed": seed}), **options) for seed in seeds]
    async with listening_with(listening, chunks=chunks):
        yield listening


@contextlib.asynccontextmanager
async def listening_with(listening: Sequence[Ear], *, chunks: int = 20) -> AsyncIterator[None]:
    """These listeners, who have heard `chunks` chunks each when the block begins."""
    for ear in listening:
        ear.begin()
    try:
        for ear in listening:
            await ear.heard(chunks)
        yield
    finally:
        for ear in listening:
            await ear.end()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What some listeners heard, together.

    Attributes:
        listeners, chunks: how many; chunks as they arrived.
        missing, repeated: ids that never came; that came twice without a splice.
        silence_s: the longest that one of their players had nothing to play.
        clicks: in what they played.
        looped_s: the longest that one of them heard the edge's loop.
        wrong: chunks that are neither their stream's sound at that tick, nor its loop, nor a crossfade of these.
        recovered_s: from when all was well again to the last chunk that was not; 0 when nothing was heard of it.
        reconnects: connections that were made anew.
    """

    listeners: int
    chunks: int
    missing: int
    repeated: int
    silence_s: float
    clicks: int
    looped_s: float
    wrong: int
    recovered_s: float
    reconnects: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@lru_cache(maxsize=1)
def renderer() -> Renderer:
    """One for all tests of this process: the services' own, on this machine's processor."""
    made = Renderer(AutoDeviceSelector("cpu").select_device())
    made.warm_up()
    return made


def rendered(spec: StreamSpec, ticks: Collection[int]) -> dict[int, bytes]:
    """What `spec` is at each of the ticks, and for the length of a loop before the first."""
    blocks = range(block_of(min(ticks) - MAX_LOOP_CHUNKS), block_of(max(ticks)) + 1)
    sound = renderer().render([(spec, block) for block in blocks]).pcm.astype("<i2", copy=False)
    return {
        first_tick(block) + chunk: sound[row, chunk].tobytes()
        for row, block in enumerate(blocks)
        for chunk in range(CHUNKS_PER_BLOCK)
    }


def judge(
    listening: Sequence[Ear], *, struck_s: float, well_s: float, also: Callable[[StreamSpec], StreamSpec] | None = None
) -> Verdict:
    """Judge what they heard.

    Args:
        listening: the listeners, after their end.
        struck_s: when the fault began, monotonic. What is wrong before is told as well.
        well_s: when it was over: the process was started again, the line was whole.
        also: the stream whose music is right besides a listener's own; for a change of revision.
    """
    for ear in listening:
        assert not ear.problem, ear.problem
    summaries = [ear.client.arrivals.summary() for ear in listening]
    kinds = {ear: _kinds(ear, also) for ear in listening if ear.format != "opus"}
    trouble_s = [_trouble_until_s(ear, kinds.get(ear), struck_s) for ear in listening]
    return Verdict(
        listeners=len(listening),
        chunks=sum(len(ear.arrived) for ear in listening),
        missing=sum(each.missing_chunks for each in summaries),
        repeated=sum(each.repeats for each in summaries),
        silence_s=round(max(_silence_s(ear) for ear in listening), 2),
        clicks=sum(_clicks(ear) for ear in listening),
        looped_s=round(max((sum(kind != "live" for kind in each) for each in kinds.values()), default=0) * TICK_S, 1),
        wrong=sum(kind == "wrong" for each in kinds.values() for kind in each),
        recovered_s=round(max(0.0, max(trouble_s, default=0.0) - well_s), 2),
        reconnects=sum(each.reconnects for each in summaries),
    )


def _kinds(ear: Ear, also: Callable[[StreamSpec], StreamSpec] | None = None) -> list[str]:
    """For each chunk that arrived: live, loop, fade or wrong."""
    ids = [heard.id for heard in ear.arrived]
    expected = rendered(ear.spec, ids)
    other = rendered(also(ear.spec), ids) if also else {}
    by_sound = {pcm: tick for tick, pcm in expected.items()}
    seams: set[bytes] = set()
    kinds: list[str] = []
    for heard in ear.arrived:
        if heard.pcm in (expected[heard.id], other.get(heard.id)):
            kinds.append("live")
        elif other and heard.pcm == crossfade(expected[heard.id], other[heard.id]):
            kinds.append("fade")
        elif heard.id - MAX_LOOP_CHUNKS - 600 <= by_sound.get(heard.pcm, -1) < heard.id or heard.pcm in seams:
            kinds.append("loop")
        elif _is_fade(heard, expected, seams):
            seams.add(heard.pcm)
            kinds.append("fade")
        else:
            kinds.append("wrong")
    return kinds


def _is_fade(heard: Heard, expected: dict[int, bytes], seams: Iterable[bytes]) -> bool:
    """Whether it is a crossfade from or into what the stream is at its tick, out of or into the stream's own past."""
    here = expected[heard.id]
    past = [pcm for tick, pcm in expected.items() if tick < heard.id]
    return any(heard.pcm in (crossfade(here, other), crossfade(other, here)) for other in (*past, *seams))


def _silence_s(ear: Ear) -> float:
    """How long a player that began with its second chunk had nothing to play, until the listener left."""
    silence_s = 0.0
    until_s: float | None = None
    newest = -1
    for index, heard in enumerate(ear.arrived):
        if heard.id <= newest:
            continue
        newest = heard.id
        if index < START_CHUNKS:
            until_s = heard.at_s + START_CHUNKS * TICK_S
            continue
        assert until_s is not None
        silence_s += max(0.0, heard.at_s - until_s)
        until_s = max(until_s, heard.at_s) + TICK_S
    # Music that has ended leaves no chunk that could come late.
    if ear.ended_s is not None and until_s is not None:
        silence_s += max(0.0, ear.ended_s - until_s)
    return silence_s


def _clicks(ear: Ear) -> int:
    sound = np.frombuffer(b"".join(pcm for _, pcm in ear.played), "<i2").reshape(-1, CHANNELS)
    return len(find_clicks(sound.astype(np.float64) / 32768))


def _trouble_until_s(ear: Ear, kinds: list[str] | None, struck_s: float) -> float:
    """When the last chunk came that was late, out of place, or not the stream's own; its end if it was silent."""
    until_s = 0.0
    for index, heard in enumerate(ear.arrived):
        before = ear.arrived[index - 1] if index else heard
        late = heard.at_s - before.at_s > GAP_S
        jump = heard.id > before.id + 1
        if heard.at_s > struck_s and (late or jump or (kinds is not None and kinds[index] != "live")):
            until_s = heard.at_s
    if ear.ended_s is not None and ear.arrived and ear.ended_s - ear.arrived[-1].at_s > GAP_S:
        until_s = ear.ended_s
    return until_s


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> float:
    """Wait until it holds; returns the seconds."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() - began_s < within_s, f"not within {within_s:g} s"
        await asyncio.sleep(0.02)
    return time.monotonic() - began_s
