from __future__ import annotations

import asyncio
import contextlib
import io
import time
from collections.abc import AsyncIterator

import av
import httpx
import jwt
import numpy as np
import pytest

from services.contract.timebase import SAMPLE_RATE_HZ
from services.edge.endpoints import mounts
from services.runtime.bus.memory import MemoryBroker
from tests.edge.support import Edge, TinyRenderer, running_edge


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
    """What a player gets in `seconds`."""
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
async def test_a_stream_is_sound_from_the_first_moment_on(path: str, media: str) -> None:
    async with playing() as edge:
        response, data = await fetch(edge, path, 1.2)
        assert response.status_code == 200
        assert response.headers["content-type"] == media
        samples = decode(data)
        # The tier's burst comes at once and then ten chunks a second.
        assert samples.shape[1] > 1.2 * SAMPLE_RATE_HZ
        tenths = samples[0, : samples.shape[1] // 4410 * 4410].reshape(-1, 4410)
        loud = np.sqrt(np.mean(tenths[1:-1] ** 2, axis=1))
        assert loud.min() > 0.1


async def test_two_who_fetch_one_stream_share_one_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Counting(mounts.MountEncoder):
        def __init__(self, format_: mounts.MountFormat, *, title: str) -> None:
            made.append(title)
            super().__init__(format_, title=title)

    monkeypatch.setattr(mounts, "MountEncoder", Counting)
    async with playing() as edge:
        both = asyncio.gather(fetch(edge, "/stream.mp3", 1.5), fetch(edge, "/stream.mp3", 1.5))
        await asyncio.sleep(1)
        assert edge.metric("auralis_listeners") == 2
        async with httpx.AsyncClient() as http:
            streams = (await http.get(edge.http + "/api/streams")).json()["streams"]
        assert [stream["listeners"] for stream in streams] == [2]
        (_, one), (_, other) = await both
        assert made == ["c-dorian-70-50-drift-0"]
        assert one[-3000:-1500] in other or other[-3000:-1500] in one
        for _ in range(50):
            if edge.metric("auralis_listeners") == 0:
                break
            await asyncio.sleep(0.05)
        assert edge.metric("auralis_listeners") == 0
        assert edge.metric("active_websocket_connections") == 0


async def test_titles_come_with_an_mp3_when_they_are_asked_for() -> None:
    async with playing() as edge:
        response, data = await fetch(edge, "/stream.mp3?key=D", 1.5, **{"Icy-MetaData": "1"})
        interval = int(response.headers["icy-metaint"])
        length = data[interval] * 16
        block = data[interval + 1 : interval + 1 + length]
        assert block.startswith(b"StreamTitle='D dorian")
        plain, _ = await fetch(edge, "/stream.mp3?key=D", 0.5)
        assert "icy-metaint" not in plain.headers


async def test_a_bad_query_is_refused_by_name() -> None:
    async with playing() as edge:
        response, data = await fetch(edge, "/stream.opus?bpm=999", 2)
        assert response.status_code == 400
        assert b"bpm" in data
        assert b"40 to 180" in data


async def test_http_listeners_count_towards_the_limit() -> None:
    async with playing(max_connections=1) as edge:
        first = asyncio.create_task(fetch(edge, "/stream.mp3", 2))
        await asyncio.sleep(0.7)
        response, _ = await fetch(edge, "/stream.mp3", 2)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0
        await first


async def test_a_head_request_tells_the_type_and_opens_nothing() -> None:
    async with playing() as edge, httpx.AsyncClient() as http:
        response = await http.head(edge.http + "/stream.opus")
        assert response.status_code == 200
        assert response.headers["content-type"] == "audio/ogg"
        assert edge.metric("auralis_listeners") == 0


async def test_without_a_renderer_the_answer_is_try_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.edge.endpoints.mount_http.FIRST_WITHIN_S", 0.3)
    async with running_edge(MemoryBroker()) as edge:
        response, _ = await fetch(edge, "/stream.opus", 3)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) > 0


async def test_the_playlist_leads_to_the_stream() -> None:
    async with playing() as edge, httpx.AsyncClient() as http:
        response = await http.get(edge.http + "/listen.m3u?key=Eb&bpm=60")
        lines = response.text.splitlines()
        assert lines[0] == "#EXTM3U"
        assert lines[2].startswith(f"{edge.http}/stream.mp3?key=D%23")
        assert (await http.get(edge.http + "/listen.m3u", headers={"host": "a b"})).status_code == 400
        assert (await http.post(edge.http + "/listen.m3u")).status_code == 405


async def test_the_playlist_of_one_who_shows_a_token_leads_past_the_door() -> None:
    key = "a shared secret of thirty-two bytes"
    token = jwt.encode({"exp": time.time() + 60}, key)
    async with playing(jwt_key=key) as edge, httpx.AsyncClient() as http:
        url = (await http.get(edge.http + f"/listen.m3u?key=D&token={token}")).text.splitlines()[2]
        assert (await http.head(url)).status_code == 200
        assert (await http.head(url.partition("&token=")[0])).status_code == 401


async def test_a_slow_listener_skips_ahead_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "QUEUE_PARTS", 3)
    async with playing() as edge:
        mount_listener = None
        original = mounts.MountListener.push

        def remember(self: mounts.MountListener, part: bytes) -> None:
            nonlocal mount_listener
            mount_listener = self
            # As if the socket took nothing: the queue is only ever filled.
            original(self, part)

        monkeypatch.setattr(mounts.MountListener, "push", remember)
        task = asyncio.create_task(fetch(edge, "/stream.mp3", 1.5))
        await asyncio.sleep(1)
        assert mount_listener is not None
        for _ in range(4):
            mount_listener.push(b"x")
        assert mount_listener.skips == 1
        assert edge.metric("auralis_mount_skips_total") == 1
        await task


async def test_an_encoder_that_fails_ends_its_own_streams_and_the_next_listener_gets_a_new_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encode = mounts.MountEncoder.encode
    fails = True

    def failing(self: mounts.MountEncoder, pcm: bytes | memoryview) -> bytes:
        if fails:
            raise RuntimeError("made up")
        return encode(self, pcm)

    async with playing() as edge:
        monkeypatch.setattr(mounts.MountEncoder, "encode", failing)
        response, data = await fetch(edge, "/stream.mp3", 3)
        assert response.status_code == 503
        assert b"made up" in data
        fails = False
        response, data = await fetch(edge, "/stream.mp3", 1)
        assert (response.status_code, len(data) > 10_000) == (200, True)
    # It is told of once, and is no error of the request that met it.
    assert "ASGI" not in caplog.text
