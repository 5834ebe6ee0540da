"""Edges that leave, die and hang, and the connections between them and their listeners."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from typing import Any

import pytest
import websockets

from services.contract.spec import StreamSpec
from services.contract.timebase import TICK_S
from tests.faults.support import Figures, fault, listen_on, unnoticed
from tests.support.fault_proxy import fault_proxy
from tests.support.fleet import Fleet, Service
from tests.support.judge import judge
from tests.support.recorder import Recorder, recorders, recording
from tests.support.waiting import until

STREAMS = range(300, 304)
START = '{"type":"control","action":"start","params":{"seed":300}}'


@fault(
    "an edge is drained (SIGTERM); its listeners' address leads to another edge",
    does="closes are spread over the drain window, with 1012 and a resume token; a client that resumes misses nothing",
    promise="an edge is drained",
)
async def test_an_edge_that_is_drained_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    going, staying = fleet.services["edge-2"], fleet.services["edge-1"]
    async with fault_proxy(going.port) as proxy, recorders(f"ws://127.0.0.1:{proxy.port}/ws", STREAMS) as listening:
        struck_s = time.monotonic()
        proxy.target_port = staying.port
        going.signal(signal.SIGTERM)
        assert await going.ended() == 0
        well_s = time.monotonic()
        await listen_on(3)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert unnoticed(verdict)
    assert verdict.reconnects == len(STREAMS)
    assert [recorder.recovered for recorder in listening] == [[True]] * len(STREAMS)


@fault(
    "an edge is killed (SIGKILL); its listeners' address leads to another edge",
    does="the other edge reads what JetStream keeps and continues at the client's place",
    promise="an edge is killed",
)
async def test_an_edge_that_is_killed_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    dying, staying = fleet.services["edge-2"], fleet.services["edge-1"]
    async with fault_proxy(dying.port) as proxy, recorders(f"ws://127.0.0.1:{proxy.port}/ws", STREAMS) as listening:
        struck_s = time.monotonic()
        proxy.target_port = staying.port
        dying.kill()
        await listen_on(4)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=struck_s)
    assert unnoticed(verdict)
    assert verdict.reconnects == len(STREAMS)


@fault(
    "the only edge is killed (SIGKILL) and restarted immediately",
    does="clients retry until it answers, and resume; the silence is the time that a process takes to start",
)
async def test_an_edge_that_starts_again_goes_on_where_its_listeners_are(fleet: Fleet, figures: Figures) -> None:
    edge = fleet.services["edge-2"]
    async with recorders(edge.ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        edge.kill()
        edge.start()
        await edge.ready()
        well_s = time.monotonic()
        await listen_on(4)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    figures.more["started_after_s"] = round(well_s - struck_s, 2)
    assert (verdict.repeated, verdict.clicks, verdict.wrong, verdict.looped_s) == (0, 0, 0, 0)
    # Only chunks that were too late to be heard are left out.
    assert verdict.missing * TICK_S / len(STREAMS) < verdict.silence_s + 0.3
    assert verdict.silence_s < well_s - struck_s + 0.5
    assert verdict.recovered_s < 1.5


@fault(
    "an edge hangs (SIGSTOP) for three seconds and continues (SIGCONT)",
    does="listeners hear silence for the hang less their buffer, are told that they skipped, and are then live",
)
async def test_after_an_edge_has_hung_its_listeners_are_live_again(fleet: Fleet, figures: Figures) -> None:
    edge = fleet.services["edge-2"]
    async with recorders(edge.ws_url, STREAMS, chunks=40) as listening:
        struck_s = time.monotonic()
        edge.pause()
        await listen_on(3)
        edge.resume()
        well_s = time.monotonic()
        await listen_on(4)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert (verdict.repeated, verdict.clicks, verdict.wrong, verdict.looped_s) == (0, 0, 0, 0)
    assert verdict.silence_s < 3
    # Afterwards no listener lags behind the others: late chunks are left out.
    assert verdict.missing * TICK_S / len(STREAMS) == pytest.approx(verdict.silence_s, abs=0.3)
    assert all("skipped" in [state for state, _ in recorder.states] for recorder in listening)
    assert verdict.recovered_s < 1


@fault(
    "telemetry is killed (SIGKILL), and then hangs (SIGSTOP)",
    does="nothing: no service waits for it; after its restart it finds all instances by asking",
)
async def test_telemetry_is_not_needed_for_the_music(fleet: Fleet, figures: Figures) -> None:
    telemetry = fleet.services["telemetry"]
    async with recorders(fleet.services["edge-1"].ws_url, STREAMS[:2]) as listening:
        struck_s = time.monotonic()
        telemetry.kill()
        telemetry.start()
        figures.more["started_after_s"] = round(await telemetry.ready(), 1)
        telemetry.pause()
        await listen_on(2)
        telemetry.resume()
        well_s = time.monotonic()
        await listen_on(1)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert unnoticed(verdict)
    for name in ("auralis_listeners", "synthesis_latency_seconds_count"):
        assert await fleet_metric(telemetry, name) is not None


async def fleet_metric(telemetry: Service, name: str) -> float | None:
    """A metric of another service, as telemetry reports it."""
    text = await telemetry.get("/metrics")
    found = [line for line in text.splitlines() if line.startswith(f"{name}{{")]
    return float(found[0].rpartition(" ")[2]) if found else None


@fault(
    "a listener's connection breaks without a close frame, three times",
    does="the client reconnects within a moment and gets the chunks that it lacks",
)
async def test_a_connection_that_breaks_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    port = fleet.services["edge-1"].port
    async with fault_proxy(port) as proxy, recorders(f"ws://127.0.0.1:{proxy.port}/ws", STREAMS) as listening:
        struck_s = time.monotonic()
        for _ in range(3):
            proxy.cut()
            await listen_on(1.5)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=struck_s)
    assert unnoticed(verdict)
    assert verdict.reconnects == 3 * len(STREAMS)


@fault(
    "a listener reads nothing for 17 s and then reads again",
    does="it skips ahead at a chunk boundary and is told; others notice nothing",
    promise="a listener is too slow",
)
async def test_a_slow_listener_skips_ahead_and_is_told(fleet: Fleet, figures: Figures) -> None:
    edge = fleet.services["edge-1"]
    async with fault_proxy(edge.port) as proxy:
        slow = Recorder(f"ws://127.0.0.1:{proxy.port}/ws", StreamSpec(seed=STREAMS[0]))
        others = [Recorder(edge.ws_url, StreamSpec(seed=seed)) for seed in STREAMS[:2]]
        async with recording([slow, *others]):
            struck_s = time.monotonic()
            proxy.stalled = True
            await listen_on(17)
            proxy.stalled = False
            well_s = time.monotonic()
            await listen_on(3)
    figures.verdict = verdict = judge([slow], struck_s=struck_s, well_s=well_s)
    assert unnoticed(judge(others, struck_s=struck_s, well_s=struck_s))
    assert (verdict.repeated, verdict.clicks, verdict.wrong, verdict.reconnects) == (0, 0, 0, 0)
    assert verdict.missing > 0
    assert verdict.silence_s < 17
    assert "skipped" in [state for state, _ in slow.states]
    assert verdict.recovered_s < 2


@fault(
    "a listener's machine vanishes: its connection is half open, nothing is acknowledged",
    does="it is closed after 30 s without progress; its place is free again, others notice nothing",
)
async def test_a_listener_that_vanishes_is_let_go(fleet: Fleet, figures: Figures) -> None:
    edge = fleet.services["edge-1"]
    async with fault_proxy(edge.port) as proxy:
        gone = Recorder(f"ws://127.0.0.1:{proxy.port}/ws", StreamSpec(seed=STREAMS[0]))
        others = [Recorder(edge.ws_url, StreamSpec(seed=seed)) for seed in STREAMS[:2]]
        async with recording([gone, *others]):
            before = await edge.metric("auralis_listeners")
            struck_s = time.monotonic()
            proxy.isolated = True

            async def let_go() -> bool:
                return await edge.metric("auralis_listeners") != before

            await until(let_go, within_s=45, every_s=0.5)
            figures.more["let_go_after_s"] = round(time.monotonic() - struck_s, 1)
    figures.verdict = verdict = judge(others, struck_s=struck_s, well_s=struck_s)
    assert unnoticed(verdict)


NONSENSE: list[tuple[str | bytes, int]] = [
    ("nonsense", 4400),
    ("[1,2,3]", 4400),
    (b"\xff\xfe\x00", 4400),
    ('{"type":"mystery"}', 4400),
    ("{" * 2000, 4400),
    ("x" * 5000, 1009),
    (b"\x00" * 100_000, 1009),
]
WRONG_VALUES: list[dict[str, Any]] = [{"bpm": 1e9}, {"key": "H"}, {"intensity": "loud"}, {"seed": -1}, {"preset": "x"}]


@fault(
    "bad input of every kind: no JSON, wrong values, long messages, too many messages, broken HTTP",
    does="a clear error and the right close code; a wrong value alone changes nothing in the music",
    promise="bad input of any kind",
)
async def test_bad_input_is_answered_and_nobody_else_notices(fleet: Fleet, figures: Figures) -> None:
    edge = fleet.services["edge-1"]
    async with recorders(edge.ws_url, STREAMS[:2]) as listening:
        struck_s = time.monotonic()
        said = 0
        for _ in range(10):
            for message, code in NONSENSE:
                assert await closed_with(edge.ws_url, [START, message]) == code, message[:40]
                said += 1
        assert await closed_with(edge.ws_url, [START] + ['{"type":"report"}'] * 200) == 4429
        async with websockets.connect(edge.ws_url, compression=None) as ws:
            await ws.send(START)
            for params in WRONG_VALUES:
                await ws.send(json.dumps({"type": "control", "action": "update", "params": params}))
                while (answer := json.loads(await asyncio.wait_for(ws.recv(), 5)))["type"] != "error":
                    pass
                assert answer["code"] == 4400
                assert answer["field"] == next(iter(params))
        for request in (
            b"\x16\x03\x01\x02\x00",
            b"GET / HTTP/9.9\r\n\r\n",
            b"A" * 100_000,
            b"GET /ws HTTP/1.1\r\n\r\n",
        ):
            assert (await asyncio.to_thread(raw_answer, edge.port, request))[:12] in (
                b"",
                b"HTTP/1.1 400",
                b"HTTP/1.1 426",
            )
        await listen_on(2)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=struck_s)
    figures.more["bad_messages"] = said
    assert unnoticed(verdict)


async def closed_with(url: str, messages: list[str | bytes]) -> int | None:
    """Close code of the edge after these messages."""
    async with websockets.connect(url, compression=None) as ws:
        try:
            for message in messages:
                await ws.send(message)
            async with asyncio.timeout(10):
                while True:
                    await ws.recv()
        except websockets.ConnectionClosed:
            return ws.close_code


def raw_answer(port: int, request: bytes) -> bytes:
    """Answer to a raw request, until the edge hangs up or is quiet for two seconds."""
    with socket.create_connection(("127.0.0.1", port), 2) as link:
        link.settimeout(2)
        answer = b""
        try:
            link.sendall(request)
            while data := link.recv(4096):
                answer += data
        except (ConnectionError, TimeoutError):
            pass
    return answer


@fault(
    "two edges want the same blocks",
    does="both ask with the same message id, so each block is rendered once; both play the same bytes",
)
async def test_two_edges_share_what_is_rendered(fleet: Fleet, figures: Figures) -> None:
    one, other = fleet.services["edge-1"], fleet.services["edge-2"]
    renderers = [fleet.services["synthesis-1"], fleet.services["synthesis-2"]]

    async def blocks() -> float:
        return sum([await each.metric("auralis_render_blocks_total") for each in renderers])

    pairs = [Recorder(edge.ws_url, StreamSpec(seed=seed)) for seed in STREAMS for edge in (one, other)]
    async with recording(pairs, chunks=30):
        began_s = time.monotonic()
        before = await blocks()
        await listen_on(8)
        seconds = time.monotonic() - began_s
        rendered = (await blocks() - before) / len(STREAMS) / seconds
    figures.verdict = verdict = judge(pairs, struck_s=began_s, well_s=began_s)
    figures.more["blocks_rendered_per_block"] = round(rendered, 2)
    assert unnoticed(verdict)
    assert rendered == pytest.approx(1.0, abs=0.2)


@fault(
    "the wall clock of an edge steps by +2 s, two seconds later by -4 s, and back",
    does="clocks are monotonic and follow the wall clock by 0.1 % at most; the offset is a metric and an alert",
)
async def test_a_stepped_clock_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    clock = fleet.folder / "clock"
    clock.write_text("0")
    stepped = {"module": "tests.support.stepped_clock", "AURALIS_TEST_CLOCK": str(clock)}
    stepped_edge = {**stepped, "module": f"{stepped['module']} services.edge"}
    with fleet.with_service("edge-stepped", **stepped_edge) as edge:
        await edge.ready()
        async with recorders(edge.ws_url, STREAMS) as listening:
            struck_s = time.monotonic()
            clock.write_text("2")
            await listen_on(2)
            figures.more["offset_s"] = round(await edge.metric("auralis_clock_offset_seconds"), 1)
            clock.write_text("-2")
            await listen_on(2)
            figures.more["then_s"] = round(await edge.metric("auralis_clock_offset_seconds"), 1)
            clock.write_text("0")
            well_s = time.monotonic()
            await listen_on(2)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert (figures.more["offset_s"], figures.more["then_s"]) == (2.0, -2.0)
    assert unnoticed(verdict)
