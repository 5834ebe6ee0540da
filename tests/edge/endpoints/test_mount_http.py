from __future__ import annotations

import asyncio
import contextlib
import io
import threading
from collections.abc import AsyncIterator

import av
import httpx
import numpy as np
import pytest

from services.contract.timebase import SAMPLE_RATE_HZ
from services.edge.codecs.mount_encoder import MountEncoder, MountFormat
from services.edge.endpoints import mount, mount_http
from services.runtime.bus.memory import MemoryBroker
from tests.edge.support import Edge, TinyRenderer, running_edge
from tests.support.waiting import until


@contextlib.asynccontextmanager
async def playing(**edge: object) -> AsyncIterator[Edge]:
    broker = MemoryBroker()
    renderer = TinyRenderer(broker)
    await renderer.start()
    try:
        async with running_edge(broker, **edge) as running:
            yield running
    finally:
        await renderer.stop()


async def fetch(edge: Edge, path: str, seconds: float, **headers: str) -> tuple[httpx.Response, bytes]:
    """The response, and what a player receives in `seconds`."""
    data = bytearray()
    async with httpx.AsyncClient(timeout=10) as http, http.stream("GET", edge.http + path, headers=headers) as response:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for part in response.aiter_raw():
                    data += part
    return response, bytes(data)


def decode(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data)) as container:
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SAMPLE_RATE_HZ)
        parts = [out.to_ndarray() for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize(("path", "media"), [("/stream.opus", "audio/ogg"), ("/stream.mp3", "audio/mpeg")])
async def test_a_stream_is_audible_from_its_first_moment(path: str, media: str) -> None:
    async with playing() as edge:
        response, data = await fetch(edge, path, 1.2)
        assert response.status_code == 200
        assert response.headers["content-type"] == media
        samples = decode(data)
        # The burst of the tier first, then ten chunks a second.
        assert samples.shape[1] > 1.2 * SAMPLE_RATE_HZ
        tenths = samples[0, : samples.shape[1] // 4410 * 4410].reshape(-1, 4410)
        loudness = np.sqrt(np.mean(tenths[1:-1] ** 2, axis=1))
        assert loudness.min() > 0.1


async def test_two_listeners_of_one_stream_share_one_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Counting(MountEncoder):
        def __init__(self, format_: MountFormat, *, title: str) -> None:
            made.append(title)
            super().__init__(format_, title=title)

    monkeypatch.setattr(mount, "MountEncoder", Counting)
    async with playing() as edge:
        both = asyncio.gather(fetch(edge, "/stream.mp3", 1.5), fetch(edge, "/stream.mp3", 1.5))
        await until(lambda: edge.metric("auralis_listeners") == 2)
        async with httpx.AsyncClient() as http:
            streams = (await http.get(edge.http + "/api/streams")).json()["streams"]
        assert [stream["listeners"] for stream in streams] == [2]
        (_, one), (_, other) = await both
        assert made == ["Tranquil Pond (C dorian, 70 bpm, intensity 0.5, drift)"]
        assert one[-3000:-1500] in other or other[-3000:-1500] in one
        await until(lambda: edge.metric("auralis_listeners") == 0)
        assert edge.metric("active_websocket_connections") == 0


async def test_an_mp3_contains_titles_if_the_player_asks_for_them() -> None:
    async with playing() as edge:
        response, data = await fetch(edge, "/stream.mp3?key=D&seed=scented-rookery", 1.5, **{"Icy-MetaData": "1"})
        interval = int(response.headers["icy-metaint"])
        length = data[interval] * 16
        block = data[interval + 1 : interval + 1 + length]
        assert block.startswith(b"StreamTitle='Scented Rookery - D dorian")
        assert response.headers["icy-description"].startswith("Scented Rookery (D dorian")
        plain, _ = await fetch(edge, "/stream.mp3?key=D", 0.5)
        assert "icy-metaint" not in plain.headers


async def test_a_bad_query_is_refused_with_the_name_of_the_field() -> None:
    async with playing() as edge:
        response, data = await fetch(edge, "/stream.opus?bpm=999", 2)
        assert response.status_code == 400
        assert b"bpm" in data
        assert b"40 to 180" in data


async def test_http_listeners_count_towards_the_limit() -> None:
    async with playing(max_connections=1) as edge:
        first = asyncio.create_task(fetch(edge, "/stream.mp3", 2))
        await until(lambda: edge.metric("auralis_listeners") == 1)
        response, _ = await fetch(edge, "/stream.mp3", 2)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        await first


async def test_a_head_request_gets_the_type_and_opens_no_mount() -> None:
    async with playing() as edge, httpx.AsyncClient() as http:
        response = await http.head(edge.http + "/stream.opus")
        assert response.status_code == 200
        assert response.headers["content-type"] == "audio/ogg"
        assert edge.metric("auralis_listeners") == 0


async def test_without_a_renderer_the_answer_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_http, "FIRST_SOUND_WITHIN_S", 0.3)
    async with running_edge(MemoryBroker()) as edge:
        response, _ = await fetch(edge, "/stream.opus", 3)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0


async def test_a_slow_listener_skips_ahead_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount, "QUEUE_PARTS", 3)
    listeners: set[mount.MountListener] = set()
    push = mount.MountListener.push

    def remember(self: mount.MountListener, part: bytes) -> None:
        listeners.add(self)
        push(self, part)

    monkeypatch.setattr(mount.MountListener, "push", remember)
    async with playing() as edge:
        task = asyncio.create_task(fetch(edge, "/stream.mp3", 1.5))
        await until(lambda: listeners)
        (listener,) = listeners
        await until(lambda: not listener._parts)
        for _ in range(4):
            # Without a pause between them: nothing is read meanwhile.
            listener.push(b"x")
        assert listener.skips == 1
        assert edge.metric("auralis_mount_skips_total") == 1
        await task


async def test_an_encoder_that_fails_ends_its_mount_and_the_next_listener_gets_a_new_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encode = MountEncoder.encode
    fails = True

    def failing(self: MountEncoder, pcm: bytes | memoryview) -> bytes:
        if fails:
            raise RuntimeError("made up")
        return encode(self, pcm)

    async with playing() as edge:
        monkeypatch.setattr(MountEncoder, "encode", failing)
        response, data = await fetch(edge, "/stream.mp3", 3)
        assert response.status_code == 503
        assert b"made up" in data
        fails = False
        response, data = await fetch(edge, "/stream.mp3", 1)
        assert (response.status_code, len(data) > 10_000) == (200, True)
    # Logged once by the mount, and not as an error of the request.
    assert "ASGI" not in caplog.text


async def test_an_encoder_is_freed_only_after_its_thread_has_left_it(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, leave = threading.Event(), threading.Event()
    events: list[str] = []

    class Blocking(MountEncoder):
        def encode(self, pcm: bytes | memoryview) -> bytes:
            entered.set()
            leave.wait(10)
            events.append("left")
            return super().encode(pcm)

        def close(self) -> None:
            events.append("closed")
            super().close()

    monkeypatch.setattr(mount, "MountEncoder", Blocking)
    async with playing() as edge:
        listening = asyncio.create_task(fetch(edge, "/stream.mp3", 10))
        await until(entered.is_set)
        listening.cancel()
        await until(lambda: edge.service.hub.now_playing() == [])
        assert events == []
        leave.set()
        await until(lambda: events == ["left", "closed"])


async def test_an_encoder_that_never_encoded_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    close = MountEncoder.close

    def closing(self: MountEncoder) -> None:
        closed.append(True)
        close(self)

    monkeypatch.setattr(mount_http, "FIRST_SOUND_WITHIN_S", 0.1)
    monkeypatch.setattr(MountEncoder, "close", closing)
    async with running_edge(MemoryBroker()) as edge:
        response, _ = await fetch(edge, "/stream.mp3", 3)
        assert response.status_code == 503
        await until(lambda: closed)


async def test_an_error_while_serving_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object) -> bytes:
        raise RuntimeError("made up")

    monkeypatch.setattr(mount_http.IcyInterleaver, "feed", failing)
    async with playing() as edge:
        with contextlib.suppress(httpx.RemoteProtocolError):
            await fetch(edge, "/stream.mp3", 3, **{"Icy-MetaData": "1"})
        await until(lambda: "made up" in caplog.text)
