import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from services.client import Client, ClientError, RefusedError
from services.client.backoff import Backoff
from services.client.session import Event, Format, Hello, Status
from services.contract import websocket
from services.contract.errors import FieldError
from services.contract.spec import StreamSpec
from services.contract.timebase import CHUNK_BYTES, CHUNK_FRAMES
from services.contract.websocket import (
    JSON_V1,
    PCM_V1,
    AudioFrame,
    CloseCode,
    Report,
    Start,
    Stop,
    Update,
    parse_client_message,
)
from services.local.ports import free_ports

SPEC = StreamSpec.from_params({"key": "D", "bpm": 60})
QUICK = Backoff(first_s=0.01, max_s=0.05, give_up_after_s=0.5)
Answer = Callable[["EdgeSide"], Awaitable[None]]


def pcm(level: int) -> bytes:
    return np.full((CHUNK_FRAMES, 2), level, "<i2").tobytes()


class EdgeSide:
    """The edge's end of one connection, speaking the contract."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection

    async def expect(self, kind: type) -> websocket.ClientMessage:
        while True:
            message = parse_client_message(await self.connection.recv())
            if isinstance(message, kind):
                return message

    async def start(self) -> Start:
        message = await self.expect(Start)
        assert isinstance(message, Start)
        return message

    async def say(self, body: object) -> None:
        await self.connection.send(json.dumps(body))

    async def hello(self, chunk_id: int, token: str, *, recovered: bool | None = None) -> None:
        await self.say(
            websocket.hello(
                spec=SPEC,
                chunk_id=chunk_id,
                tier="normal",
                resume=token,
                recovered=recovered,
                server_time=0.0,
                limits={},
            )
        )

    async def play(self, ids: Sequence[int], level: int = 1000, *, depth: int = 5) -> None:
        for chunk_id in ids:
            if self.connection.subprotocol == PCM_V1:
                await self.connection.send(AudioFrame(chunk_id, 1.0, depth, "normal", pcm(level)).encode())
            else:
                data = base64.b64encode(pcm(level)).decode()
                message = {"type": "audio", "chunk_id": chunk_id, "data": data, "timestamp": 1.0}
                await self.say({**message, "buffer_depth": depth, "current_tier": "normal"})

    async def hang_up_without_a_word(self) -> None:
        self.connection.transport.abort()
        await self.connection.wait_closed()


@asynccontextmanager
async def edge(*answers: Answer) -> AsyncIterator[str]:
    """An edge that answers its first connection with the first answer, and so on; its url."""
    waiting = list(answers)
    failures: list[BaseException] = []

    async def handle(connection: ServerConnection) -> None:
        try:
            await waiting.pop(0)(EdgeSide(connection))
        except ConnectionClosed:
            pass
        except BaseException as error:  # noqa: BLE001 - an assertion that failed in here must fail the test
            failures.append(error)

    server = serve(handle, "127.0.0.1", 0, subprotocols=[PCM_V1, JSON_V1], select_subprotocol=_choose, compression=None)
    async with server as running, asyncio.timeout(20):
        yield f"ws://127.0.0.1:{next(iter(running.sockets)).getsockname()[1]}/ws"
    if failures:
        raise failures[0]


def _choose(_connection: ServerConnection, offered: Sequence[str]) -> str | None:
    # A plain client is taken too.
    return next((name for name in (PCM_V1, JSON_V1) if name in offered), None)  # type: ignore[return-value]


async def listen(client: Client, count: int) -> list[tuple[int, bytes]]:
    chunks = []
    async for chunk in client:
        chunks.append((chunk.chunk_id, chunk.pcm))
        if len(chunks) == count:
            break
    return chunks


@pytest.mark.parametrize(
    ("format_", "events", "subprotocol"), [("pcm", True, PCM_V1), ("json", True, JSON_V1), ("json", False, None)]
)
async def test_a_listener_asks_for_its_stream_and_gets_its_chunks(
    format_: Format,
    events: bool,  # noqa: FBT001 - a parameter of the test
    subprotocol: str | None,
) -> None:
    stopped = asyncio.Event()

    async def answer(side: EdgeSide) -> None:
        assert side.connection.subprotocol == subprotocol
        assert await side.start() == Start(SPEC)
        await side.play(range(10, 15))
        await side.expect(Stop)
        stopped.set()
        await side.connection.close(CloseCode.STOPPED)

    async with edge(answer) as url:
        async with Client(url, SPEC, format=format_, events=events) as client:
            assert await listen(client, 5) == [(n, pcm(1000)) for n in range(10, 15)]
        await stopped.wait()
    assert client.arrivals.chunks == 5
    assert client.arrivals.summary().first_audio_ms is not None


async def test_leaving_while_audio_waits_to_be_read_hangs_up_soon() -> None:
    gone = asyncio.Event()

    async def answer(side: EdgeSide) -> None:
        await side.start()
        try:
            await side.play(range(1000))
            await side.connection.wait_closed()
        finally:
            gone.set()

    async with edge(answer) as url:
        async with Client(url, SPEC) as client:
            await listen(client, 3)
        await asyncio.wait_for(gone.wait(), 3)


async def test_the_music_ends_when_the_edge_says_so() -> None:
    async def answer(side: EdgeSide) -> None:
        await side.start()
        await side.play([1, 2])
        await side.connection.close(CloseCode.STOPPED)

    async with edge(answer) as url, Client(url, SPEC) as client:
        assert [chunk.chunk_id async for chunk in client] == [1, 2]


async def test_a_broken_connection_is_resumed_with_the_token_and_the_chunk_that_is_missing() -> None:
    async def first(side: EdgeSide) -> None:
        await side.start()
        await side.hello(1, "token-a")
        await side.play([1, 2, 3])
        await side.hang_up_without_a_word()

    async def second(side: EdgeSide) -> None:
        assert await side.start() == Start(SPEC, resume="token-a", chunk_id=4)
        await side.hello(4, "token-b", recovered=True)
        await side.play([4, 5, 6])

    async with edge(first, second) as url, Client(url, SPEC, reconnect=QUICK) as client:
        assert [chunk_id for chunk_id, _ in await listen(client, 6)] == [1, 2, 3, 4, 5, 6]
    summary = client.arrivals.summary()
    assert (summary.reconnects, summary.recovered, summary.gaps, summary.repeats) == (1, 1, 0, 0)


async def test_an_edge_that_goes_away_is_left_with_the_token_of_its_last_word() -> None:
    async def first(side: EdgeSide) -> None:
        await side.start()
        await side.hello(1, "early")
        await side.play([1, 2])
        await side.connection.close(CloseCode.RESTART, "exact")

    async def second(side: EdgeSide) -> None:
        assert await side.start() == Start(SPEC, resume="exact", chunk_id=3)
        await side.hello(3, "next", recovered=True)
        await side.play([3])

    async with edge(first, second) as url, Client(url, SPEC, reconnect=QUICK) as client:
        assert len(await listen(client, 3)) == 3


async def test_after_a_resume_that_failed_the_gap_is_crossed_without_a_step() -> None:
    async def first(side: EdgeSide) -> None:
        await side.start()
        await side.play([1, 2], level=8000)
        await side.hang_up_without_a_word()

    async def second(side: EdgeSide) -> None:
        await side.start()
        await side.hello(40, "t", recovered=False)
        await side.play([40, 41], level=-8000)

    async with edge(first, second) as url, Client(url, SPEC, reconnect=QUICK) as client:
        chunks = await listen(client, 4)
    sound = np.frombuffer(b"".join(data for _, data in chunks), "<i2").astype(float)
    assert [chunk_id for chunk_id, _ in chunks] == [1, 2, 40, 41]
    assert np.abs(np.diff(sound[::2])).max() < 20
    assert (client.arrivals.gaps, client.arrivals.missing_chunks) == (1, 37)
    assert client.arrivals.recovered == 0


@pytest.mark.parametrize("jump", [-36_000, -40, 31, 36_000])
async def test_after_a_jump_of_the_edges_clock_the_music_goes_on_under_other_numbers(jump: int) -> None:
    async def answer(side: EdgeSide) -> None:
        await side.start()
        await side.play(range(50_000, 50_004))
        moved = {"from_chunk_id": 50_004, "to_chunk_id": 50_004 + jump, "reason": "clock"}
        await side.say(websocket.status("skipped", **moved))
        await side.hello(50_004 + jump, "t")
        await side.play(range(50_004 + jump, 50_008 + jump))
        await side.hang_up_without_a_word()

    async def second(side: EdgeSide) -> None:
        assert await side.start() == Start(SPEC, resume="t", chunk_id=50_008 + jump)
        await side.hello(50_008 + jump, "u", recovered=True)
        await side.play([50_008 + jump])

    async with edge(answer, second) as url, Client(url, SPEC, reconnect=QUICK) as client:
        chunks = await listen(client, 9)
    assert chunks == [(number, pcm(1000)) for number in (*range(50_000, 50_004), *range(50_004 + jump, 50_009 + jump))]
    summary = client.arrivals.summary()
    assert (summary.gaps, summary.missing_chunks, summary.repeats, summary.chunks) == (0, 0, 0, 9)


async def test_an_edge_whose_clock_is_behind_that_of_the_edge_before_is_heard() -> None:
    async def first(side: EdgeSide) -> None:
        await side.start()
        await side.hello(50_000, "t")
        await side.play(range(50_000, 50_003))
        await side.connection.close(CloseCode.RESTART, "exact")

    async def second(side: EdgeSide) -> None:
        await side.start()
        await side.hello(14_000, "u", recovered=False)
        await side.play(range(14_000, 14_003))

    async with edge(first, second) as url, Client(url, SPEC, reconnect=QUICK) as client:
        assert [number for number, _ in await listen(client, 6)] == [*range(50_000, 50_003), *range(14_000, 14_003)]


async def test_sound_at_the_pace_of_the_clock_goes_over_a_jump_without_silence() -> None:
    async def answer(side: EdgeSide) -> None:
        await side.start()
        await side.play(range(50_000, 50_004))
        moved = {"from_chunk_id": 50_004, "to_chunk_id": 14_004, "reason": "clock"}
        await side.say(websocket.status("skipped", **moved))
        await side.play(range(14_004, 14_008))
        await side.expect(Stop)

    async with edge(answer) as url, Client(url, SPEC) as client:
        sound = client.playout()
        heard = [await anext(sound) for _ in range(6)]
        await sound.aclose()
    assert all(np.frombuffer(piece, "<i2").min() > 500 for piece in heard[1:])


async def test_a_refused_upgrade_says_when_to_come_back() -> None:
    async def refuse(_connection: ServerConnection, _request: Request) -> Response:
        response = _connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "50 of 50 listeners are here\n")
        response.headers["Retry-After"] = "7"
        return response

    async def never(_connection: ServerConnection) -> None:
        raise AssertionError

    async with serve(never, "127.0.0.1", 0, process_request=refuse) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(RefusedError, match=r"503.*50 of 50 listeners.*7 s") as refused:
            await Client(f"ws://127.0.0.1:{port}/ws").__aenter__()
    assert (refused.value.code, refused.value.retry_after_s) == (503, 7.0)


@pytest.mark.parametrize("code", [CloseCode.BAD_MESSAGE, CloseCode.UNAUTHORIZED, CloseCode.TRY_LATER])
async def test_a_close_that_would_only_repeat_is_an_error_with_its_reason(code: CloseCode) -> None:
    async def answer(side: EdgeSide) -> None:
        await side.start()
        await side.connection.close(code, "because")

    async with edge(answer) as url, Client(url, SPEC, reconnect=QUICK) as client:
        with pytest.raises(RefusedError, match="because") as refused:
            await listen(client, 1)
    assert refused.value.code == code


async def test_after_music_has_played_try_later_is_tried_later() -> None:
    async def first(side: EdgeSide) -> None:
        await side.start()
        await side.play([1])
        await side.connection.close(CloseCode.TRY_LATER, "overloaded")

    async def second(side: EdgeSide) -> None:
        await side.start()
        await side.play([9])

    async with edge(first, second) as url, Client(url, SPEC, reconnect=QUICK) as client:
        assert [chunk_id for chunk_id, _ in await listen(client, 2)] == [1, 9]


async def test_nothing_at_the_address_is_a_sentence() -> None:
    with pytest.raises(ClientError, match=r"No edge answers.*auralis up"):
        await Client(f"ws://127.0.0.1:{free_ports(1)[0]}/ws").__aenter__()
    with pytest.raises(ClientError, match="expected a WebSocket address"):
        await Client("http://127.0.0.1/ws").__aenter__()


async def test_an_edge_that_stays_away_is_given_up_after_a_while() -> None:
    async def answer(side: EdgeSide) -> None:
        await side.start()
        await side.play([1])
        await side.hang_up_without_a_word()

    async with edge(answer) as url:
        client = await Client(url, SPEC, reconnect=QUICK).__aenter__()
        await listen(client, 1)
    with pytest.raises(ClientError, match="No connection for"):
        await listen(client, 1)


async def test_without_reconnection_a_broken_line_is_an_error() -> None:
    async def answer(side: EdgeSide) -> None:
        await side.start()
        await side.hang_up_without_a_word()

    async with edge(answer) as url, Client(url, SPEC, reconnect=None) as client:
        with pytest.raises(ClientError, match="broke"):
            await listen(client, 1)


async def test_what_cannot_be_read_is_skipped_and_counted() -> None:
    async def answer(side: EdgeSide) -> None:
        await side.start()
        await side.connection.send(b"\x07rubbish")
        await side.connection.send("{")
        await side.say({"type": "weather"})
        await side.play([1])

    async with edge(answer) as url, Client(url, SPEC) as client:
        assert len(await listen(client, 1)) == 1
    assert (client.bad_messages, client.session.unknown_messages) == (2, 1)


async def test_an_update_reaches_the_edge_and_a_bad_one_does_not() -> None:
    got: asyncio.Future[websocket.ClientMessage] = asyncio.get_running_loop().create_future()

    async def answer(side: EdgeSide) -> None:
        await side.start()
        got.set_result(await side.expect(Update))

    async with edge(answer) as url, Client(url, SPEC) as client:
        with pytest.raises(FieldError):
            await client.update(bpm=5)
        await client.update(bpm=90, intensity=0.8)
        assert await got == Update({"bpm": 90, "intensity": 0.8})
        assert client.spec.bpm == 90


async def test_the_edge_is_told_how_the_buffer_stands() -> None:
    got: asyncio.Future[websocket.ClientMessage] = asyncio.get_running_loop().create_future()

    async def answer(side: EdgeSide) -> None:
        await side.start()
        await side.play(range(20, 30))
        got.set_result(await side.expect(Report))

    async with edge(answer) as url, Client(url, SPEC, report_every_s=0.001) as client:
        await listen(client, 10)
        report = await got
    assert isinstance(report, Report)
    assert 0 < report.buffer_ms <= 1000
    assert 19 <= report.chunk_id <= 30
    assert report.underruns == 0


async def test_everything_that_the_edge_says_can_be_watched() -> None:
    async def answer(side: EdgeSide) -> None:
        await side.start()
        await side.say(websocket.status("warming"))
        await side.hello(1, "t")
        await side.play([1])

    events: list[Event] = []
    async with edge(answer) as url, Client(url, SPEC, on_event=events.append) as client:
        await listen(client, 1)
    assert [type(event) for event in events[:2]] == [Status, Hello]


async def test_chunks_that_were_handed_out_are_not_replaced_but_the_next_one_fades() -> None:
    async def answer(side: EdgeSide) -> None:
        await side.start()
        await side.play([1, 2, 3], level=8000)
        await side.say(websocket.splice(2, SPEC.updated({"bpm": 80})))
        await side.play([2, 3, 4, 5], level=-8000)

    async with edge(answer) as url, Client(url, SPEC) as client:
        chunks = dict(await listen(client, 5))
    assert list(chunks) == [1, 2, 3, 4, 5]
    fade = np.frombuffer(chunks[4], "<i2")
    assert fade[0] > 7900
    assert fade[-1] < -7900
    assert chunks[5] == pcm(-8000)
    assert client.arrivals.repeats == 0
    assert client.spec.bpm == 80


async def test_sound_at_the_pace_of_the_clock_goes_over_a_splice_before_its_chunks_are_played() -> None:
    async def answer(side: EdgeSide) -> None:
        await side.start()
        await side.play(range(10), level=8000, depth=10)
        await side.say(websocket.splice(3, SPEC))
        await side.play(range(3, 10), level=-8000, depth=10)
        await side.connection.close(CloseCode.STOPPED)

    loop = asyncio.get_running_loop()
    async with edge(answer) as url, Client(url, SPEC) as client, aclosing(client.playout()) as sound:
        began_s = loop.time()
        heard = [piece async for piece in sound]
        took_s = loop.time() - began_s
    assert {len(piece) for piece in heard} == {CHUNK_BYTES}
    assert len(heard) == 10
    assert 0.85 < took_s < 3.0
    samples = np.frombuffer(b"".join(heard), "<i2").astype(float)[::2]
    assert samples[2 * CHUNK_FRAMES] == 8000
    assert samples[4 * CHUNK_FRAMES + 100] == -8000
    assert np.abs(np.diff(samples)).max() < 20


async def test_sound_at_the_pace_of_the_clock_passes_the_end_of_the_connection_on() -> None:
    async def answer(side: EdgeSide) -> None:
        await side.start()
        await side.play([1, 2, 3])
        await side.connection.close(CloseCode.POLICY, "enough")

    async with edge(answer) as url, Client(url, SPEC) as client, aclosing(client.playout()) as sound:
        with pytest.raises(RefusedError, match="enough"):
            async for _ in sound:
                pass


def test_waits_double_up_to_their_bound_and_are_spread() -> None:
    backoff = Backoff(first_s=0.1, max_s=5.0)
    assert [backoff.wait_s(n, 1.0) for n in (0, 1, 2, 10, 10**6)] == [0.1, 0.2, 0.4, 5.0, 5.0]
    assert backoff.wait_s(0, 0.0) == 0.05
