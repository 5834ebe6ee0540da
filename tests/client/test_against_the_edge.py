"""The client and the real edge, with a tiny renderer and a bus in memory."""

import asyncio
import json
import time
from contextlib import aclosing
from typing import Any

import numpy as np
import pytest

from services.client import Client, RefusedError
from services.client.session import Chunk, Event, Format, Hello, ServerError, Splice, Status
from services.client.timeline import continuation, crossfade
from services.contract.spec import StreamSpec
from services.contract.timebase import CHUNK_BYTES, CHUNK_FRAMES, SAMPLE_RATE_HZ
from services.edge.listener.actions import Action
from services.runtime.bus.memory import MemoryBroker
from tests.edge.support import TinyRenderer, pcm_of, pitch_hz, running_edge
from tests.support.waiting import until

SPEC = StreamSpec()


def rendered(chunk_id: int, spec: StreamSpec = SPEC) -> bytes:
    block, chunk = divmod(chunk_id, 10)
    return pcm_of(spec.stream_id, block)[chunk * CHUNK_BYTES : (chunk + 1) * CHUNK_BYTES]


async def hear(client: Client, count: int) -> list[Chunk]:
    chunks: list[Chunk] = []
    async with asyncio.timeout(15):
        async for chunk in client:
            chunks.append(chunk)
            if len(chunks) == count:
                break
    return chunks


@pytest.mark.parametrize("format_", ["pcm", "json"])
async def test_the_client_hears_exactly_the_rendered_chunks(broker: MemoryBroker, format_: Format) -> None:
    async with running_edge(broker) as edge, Client((await edge.ready()).ws, SPEC, format=format_) as client:
        chunks = await hear(client, 20)
    assert [chunk.chunk_id for chunk in chunks] == list(range(chunks[0].chunk_id, chunks[0].chunk_id + 20))
    assert all(chunk.pcm == rendered(chunk.chunk_id) for chunk in chunks)
    summary = client.arrivals.summary()
    assert (summary.gaps, summary.repeats, summary.underruns) == (0, 0, 0)
    assert client.session.resume is not None


def click(sound: np.ndarray, tone_hz: int) -> float:
    """The largest departure from a steady tone, as a share of its amplitude: the error of a linear prediction."""
    turn = 2 * np.cos(2 * np.pi * tone_hz / SAMPLE_RATE_HZ)
    return float(np.abs(sound[2:] - turn * sound[1:-1] + sound[:-2]).max() / 8000)


def left(chunks: list[Chunk]) -> np.ndarray:
    """The left channel of all chunks, in steps of int16."""
    return np.frombuffer(b"".join(chunk.pcm for chunk in chunks), "<i2").reshape(-1, 2)[:, 0].astype(float)


async def test_a_move_to_another_edge_in_opus_makes_no_gap_and_no_click() -> None:
    broker = MemoryBroker()
    renderer = TinyRenderer(broker)
    renderer.marked = False
    await renderer.start()
    try:
        async with (
            running_edge(broker, secret="of both") as one,
            running_edge(broker, secret="of both") as other,
            Client((await one.ready()).ws, SPEC, format="opus") as client,
        ):
            chunks = await hear(client, 20)
            client.url = (await other.ready()).ws
            leaving = asyncio.create_task(one.service.drain())
            chunks += await hear(client, 30)
            await leaving
    finally:
        await renderer.stop()
    assert [chunk.chunk_id for chunk in chunks] == list(range(chunks[0].chunk_id, chunks[0].chunk_id + 50))
    assert client.arrivals.summary().recovered == 1
    sound = left(chunks)[CHUNK_FRAMES:]
    assert click(sound, pitch_hz(SPEC.stream_id)) < 0.02
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(8000 / np.sqrt(2), rel=0.02)
    assert client.bad_messages == 0


@pytest.mark.parametrize("format_", ["pcm", "opus"])
async def test_without_renderers_the_listener_hears_no_silence_and_no_click(
    format_: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.edge.stream.demand.LEAD_S", 2.5)
    broker = MemoryBroker()
    renderer = TinyRenderer(broker)
    renderer.marked = False
    await renderer.start()
    states: list[str] = []

    def note(event: Event) -> None:
        if isinstance(event, Status):
            states.append(event.state)

    try:
        async with (
            running_edge(broker) as edge,
            Client((await edge.ready()).ws, SPEC, format=format_, on_event=note) as client,
        ):
            chunks = await hear(client, 15)
            renderer.silent = True
            while "degraded" not in states:
                chunks += await hear(client, 1)
            chunks += await hear(client, 15)
            renderer.silent = False
            while states[-1] != "playing":
                chunks += await hear(client, 1)
            chunks += await hear(client, 15)
    finally:
        await renderer.stop()
    assert [chunk.chunk_id for chunk in chunks] == list(range(chunks[0].chunk_id, chunks[0].chunk_id + len(chunks)))
    sound = left(chunks)[CHUNK_FRAMES:]
    loudness = np.sqrt(np.mean(sound[: len(sound) // 882 * 882].reshape(-1, 882) ** 2, axis=1))
    # RMS of each 20 ms: the loop's seams and fades may be a little softer or louder, and never silent.
    assert loudness.min() > 0.5 * 8000 / np.sqrt(2)
    assert loudness.max() < 1.3 * 8000 / np.sqrt(2)
    assert click(sound, pitch_hz(SPEC.stream_id)) < 0.02


async def test_a_change_in_opus_is_crossfaded(broker: MemoryBroker) -> None:
    new = SPEC.updated({"key": "F#"})
    async with running_edge(broker) as edge, Client((await edge.ready()).ws, SPEC, format="opus") as client:
        chunks = await hear(client, 15)
        await client.update(key="F#")
        chunks += await hear(client, 25)
    assert client.session.spec == new
    assert client._timeline.crossfades >= 1
    sound = left(chunks)[-10 * CHUNK_FRAMES :]
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    assert abs(int(np.argmax(spectrum)) - pitch_hz(new.stream_id)) <= 1


async def test_the_client_reports_the_depth_of_its_buffer(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_edge(broker) as edge, Client((await edge.ready()).ws, SPEC, report_every_s=0.2) as client:
        await hear(client, 20)
        (connection,) = edge.service.hub.connections
        received: list[dict[str, Any]] = []
        receive = connection.listener.receive

        def record(data: str | bytes, now_s: float, live: int) -> list[Action]:
            received.append(json.loads(data))
            return receive(data, now_s, live)

        monkeypatch.setattr(connection.listener, "receive", record)
        await hear(client, 10)
        assert received[0]["type"] == "report"
        assert 500 <= received[0]["buffer_ms"] <= 1100


async def test_a_change_is_heard_within_300_ms_without_a_click(broker: MemoryBroker) -> None:
    new = SPEC.updated({"key": "F#"})
    events: list[Event] = []
    async with (
        running_edge(broker) as edge,
        Client((await edge.ready()).ws, SPEC, on_event=events.append) as client,
        aclosing(client.playout(frames=441)) as sound,
    ):
        pieces: list[bytes] = []
        changed_s = heard_s = 0.0
        async for piece in sound:
            pieces.append(piece)
            if len(pieces) == 150:
                changed_s = time.monotonic()
                await client.update(key="F#")
            splice = next((event for event in events if isinstance(event, Splice)), None)
            player = client.player
            if splice and player and player.playing_id is not None and player.playing_id >= splice.chunk_id:
                heard_s = heard_s or time.monotonic()
            if heard_s and len(pieces) >= 250:
                break
        assert heard_s - changed_s < 0.3
        assert player is not None
        assert player.underruns == 0
        assert player.timeline.crossfades == 1
    assert client.spec == new
    # The renderer marks the last frame of each chunk with its number: that one value is not sound.
    samples = np.frombuffer(b"".join(pieces), "<i2")[::2].astype(float)
    steepest = 2 * 8000 * 2 * np.pi * 600 / 44_100
    assert np.abs(np.diff(samples[CHUNK_FRAMES:])).max() < steepest


async def test_a_change_after_chunks_were_handed_out_fades_in_with_the_next_chunk(
    broker: MemoryBroker,
) -> None:
    new = SPEC.updated({"bpm": 90})
    async with running_edge(broker) as edge, Client((await edge.ready()).ws, SPEC) as client:
        before = await hear(client, 12)
        await client.update(bpm=90)
        after = await hear(client, 20)
    ids = [chunk.chunk_id for chunk in (*before, *after)]
    assert ids == list(range(ids[0], ids[0] + 32))
    fade = next(chunk for chunk in after if chunk.pcm != rendered(chunk.chunk_id))
    assert fade.pcm == crossfade(continuation(rendered(fade.chunk_id - 1)), rendered(fade.chunk_id, new))
    assert all(chunk.pcm == rendered(chunk.chunk_id, new) for chunk in after if chunk.chunk_id > fade.chunk_id)


async def test_a_drained_edge_hands_its_listener_to_another_without_gap_or_repeat(broker: MemoryBroker) -> None:
    secret = "the same on both edges"  # noqa: S105 - of this test only
    states: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, Status):
            states.append(event.state)
        if isinstance(event, Hello) and event.recovered is not None:
            states.append(f"recovered {event.recovered}")

    async with running_edge(broker, secret=secret) as first, running_edge(broker, secret=secret) as second:
        await second.ready()
        async with Client((await first.ready()).ws, SPEC, on_event=watch) as client:
            chunks = await hear(client, 12)
            draining = asyncio.create_task(first.service.drain())
            # Where a load balancer would send it next.
            client.url = second.ws
            chunks += await hear(client, 20)
            await draining
    ids = [chunk.chunk_id for chunk in chunks]
    assert ids == list(range(ids[0], ids[0] + 32))
    assert all(chunk.pcm == rendered(chunk.chunk_id) for chunk in chunks)
    assert states[-2:] == ["draining", "recovered True"]
    summary = client.arrivals.summary()
    assert (summary.gaps, summary.repeats, summary.reconnects, summary.recovered) == (0, 0, 1, 1)


async def test_a_lost_connection_is_resumed_without_gap_or_repeat(broker: MemoryBroker) -> None:
    async with running_edge(broker) as edge, Client((await edge.ready()).ws, SPEC) as client:
        chunks = await hear(client, 12)
        connection = client._connection
        assert connection is not None
        connection.transport.abort()
        chunks += await hear(client, 20)
    ids = [chunk.chunk_id for chunk in chunks]
    assert ids == list(range(ids[0], ids[0] + 32))
    assert all(chunk.pcm == rendered(chunk.chunk_id) for chunk in chunks)
    assert client.arrivals.recovered == 1


async def test_a_full_edge_says_when_to_come_back(broker: MemoryBroker) -> None:
    async with running_edge(broker, max_connections=1) as edge, Client((await edge.ready()).ws, SPEC) as client:
        await hear(client, 1)
        with pytest.raises(RefusedError) as refused:
            await Client(edge.ws, SPEC).__aenter__()
    assert refused.value.code == 503
    assert refused.value.retry_after_s is not None


async def test_a_refused_value_is_reported_and_the_music_goes_on(broker: MemoryBroker) -> None:
    errors: list[ServerError] = []

    def watch(event: Event) -> None:
        if isinstance(event, ServerError):
            errors.append(event)

    async with running_edge(broker) as edge, Client((await edge.ready()).ws, SPEC, on_event=watch) as client:
        await hear(client, 12)
        assert client._connection is not None
        # The client itself would not send it.
        await client._connection.send('{"type":"control","action":"update","params":{"bpm":999}}')
        await hear(client, 10)
    assert [(error.code, error.field) for error in errors] == [(4400, "bpm")]


async def test_a_client_that_leaves_frees_its_place(broker: MemoryBroker) -> None:
    async with running_edge(broker) as edge:
        async with Client((await edge.ready()).ws, SPEC) as client:
            await hear(client, 5)
            assert edge.metric("auralis_listeners") == 1
        await until(lambda: edge.metric("auralis_listeners") == 0, 2)
