import asyncio
import json
import wave
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from services.client.client import Client
from services.client.listen import Moment, chord_of, listen
from services.client.statistics import Arrivals, Summary
from services.contract.spec import StreamSpec
from services.contract.timebase import CHUNK_FRAMES
from services.contract.websocket import PCM_V1, AudioFrame
from services.local.listen import describe, live_line, run_listen
from tests.support.waiting import until

SPEC = StreamSpec()
PCM = np.full((CHUNK_FRAMES, 2), 500, "<i2").tobytes()


@asynccontextmanager
async def edge(ids: Iterable[int]) -> AsyncIterator[str]:
    """An edge that sends these chunks in one go and then waits; yields its url."""

    async def handle(connection: ServerConnection) -> None:
        await connection.recv()
        for chunk_id in ids:
            await connection.send(AudioFrame(chunk_id, 1.0, 5, "normal", PCM).encode())
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0, subprotocols=[PCM_V1], compression=None) as server:  # type: ignore[list-item]
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/ws"


class RecordingSink:
    """Records the chunks that it gets; ends after `capacity` of them."""

    def __init__(self, capacity: int = 1000) -> None:
        self.heard: list[int] = []
        self.capacity = capacity

    @property
    def ended(self) -> bool:
        return len(self.heard) >= self.capacity

    def write(self, chunk_id: int, pcm: bytes) -> None:
        assert pcm == PCM
        self.heard.append(chunk_id)


async def hear(url: str, sink: RecordingSink, **options: object) -> Summary:
    arguments = {"seconds": None, "stopping": asyncio.Event(), **options}
    async with asyncio.timeout(20):
        return await listen(Client(url, SPEC), sink, **arguments)  # type: ignore[arg-type]


async def test_listening_ends_after_the_wanted_seconds() -> None:
    sink = RecordingSink()
    async with edge(range(5, 50)) as url:
        summary = await hear(url, sink, seconds=1.21)
    # 1.21 s reach into the thirteenth chunk of 100 ms.
    assert sink.heard == list(range(5, 18))
    assert summary.chunks == 13


async def test_listening_ends_when_it_is_stopped_and_when_the_sink_ends() -> None:
    stopping = asyncio.Event()
    async with edge(range(10)) as url:
        sink = RecordingSink()
        listening = asyncio.create_task(hear(url, sink, stopping=stopping))
        await until(lambda: len(sink.heard) == 10)
        stopping.set()
        await listening
        sink = RecordingSink(capacity=3)
        await hear(url, sink)
        assert sink.heard == [0, 1, 2]


async def test_moments_are_reported_and_the_chord_is_fetched() -> None:
    moments: list[Moment] = []
    asked: list[str] = []

    async def fetch(_host: str, _port: int, path: str) -> bytes:
        asked.append(path)
        return json.dumps({"streams": [{"stream_id": SPEC.stream_id, "chord": "Am9"}]}).encode()

    async with edge(range(10)) as url:
        await hear(url, RecordingSink(), seconds=1.0, on_moment=moments.append, fetch=fetch)
    assert moments
    assert moments[0].tier == "normal"
    assert asked == ["/api/streams"]


def test_the_chord_of_the_stream_is_found_and_any_other_answer_gives_none() -> None:
    body = json.dumps({"streams": [{"stream_id": "other", "chord": "C"}, {"stream_id": "mine", "chord": "Am9"}]})
    assert chord_of(body.encode(), "mine") == "Am9"
    assert chord_of(body.encode(), "missing") == ""
    for odd in (b"", b"[]", b'{"streams": [{}]}', b'{"streams": [{"stream_id": "mine", "chord": null}]}'):
        assert chord_of(odd, "mine") == ""


def run(url: str, **options: object) -> int:
    arguments = {"seconds": 1.0, "output": None, "format_": "pcm", "token": None, "as_json": False, **options}
    return run_listen(url, SPEC, **arguments)  # type: ignore[arg-type]


async def test_a_recording_is_written_and_the_figures_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Signal handlers belong to the main thread, and here the command runs beside the edge.
    monkeypatch.setattr(asyncio.BaseEventLoop, "add_signal_handler", lambda *_: None, raising=False)
    monkeypatch.setattr("asyncio.unix_events._UnixSelectorEventLoop.add_signal_handler", lambda *_: None)
    path = tmp_path / "out.wav"
    ids = [*range(4), *range(6, 20)]
    async with edge(ids) as url:
        status = await asyncio.to_thread(run, url, output=str(path), as_json=True)
    figures = json.loads(capsys.readouterr().out)
    assert status == 0
    assert (figures["chunks"], figures["gaps"], figures["missing_chunks"], figures["silent_chunks"]) == (8, 1, 2, 2)
    with wave.open(str(path)) as file:
        assert file.getnframes() == 10 * CHUNK_FRAMES


def test_the_figures_are_put_into_words() -> None:
    arrivals = Arrivals()
    arrivals.connecting(0.0)
    for chunk_id in range(20):
        arrivals.add(chunk_id, tier="normal", received_s=0.1 + max(0, chunk_id - 9) * 0.1)
    text = describe(arrivals.summary(), {})
    assert text.startswith("20 chunks (2.0 s) in 1.0 s: first sound after 100 ms")
    assert "no gap, no repeat, no underrun" in text
    arrivals.add(25, tier="normal", received_s=5.0)
    arrivals.reconnected(recovered=True)
    text = describe(arrivals.summary(), {"dropped_chunks": 3})
    assert "1 gaps (5 chunks)" in text
    assert "1 underruns" in text
    assert "3 chunks dropped" in text
    assert "Reconnected 1 times, 1 without a gap" in text
    assert describe(Arrivals().summary(), {}) == "Nothing was heard."


def test_a_moment_is_one_short_line() -> None:
    moment = Moment(seconds=75.0, tier="stable", buffer_s=1.46, jitter_ms=3.21, chord="Am9", underruns=1)
    assert live_line(moment) == "♪ 1:15  stable tier  1.5 s buffered  jitter 3.2 ms  1 underrun  Am9"
