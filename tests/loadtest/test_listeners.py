"""The listeners and the real edge, with a tiny renderer and a bus in memory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.request

import pytest

from services.loadtest import listeners
from services.loadtest.listener import ListenerOptions
from services.loadtest.listeners import run
from services.loadtest.messages import Wire
from services.loadtest.tally import Tally
from services.local.ports import free_ports
from services.runtime.bus.memory import MemoryBroker
from tests.edge.support import running_edge
from tests.support.waiting import until


def options(url: str, **changes: object) -> ListenerOptions:
    values = {"listeners": 12, "seconds": 2.0, "ramp_s": 0.3, "streams": 3}
    return ListenerOptions(url=url, **(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def tally(monkeypatch: pytest.MonkeyPatch) -> Tally:
    """The figures of the next run, readable while it lasts."""
    tally = Tally()
    monkeypatch.setattr(listeners, "Tally", lambda: tally)
    return tally


def no_fault(tally: Tally) -> bool:
    return (tally.missing, tally.repeats, tally.refused, tally.errors) == (0, 0, 0, {})


@pytest.mark.parametrize("wire", ["pcm", "json"])
async def test_all_listeners_hear_all_chunks(
    broker: MemoryBroker, wire: Wire, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_edge(broker) as edge:
        tally = await run(options((await edge.ready()).ws, wire=wire), index=2)
    assert (tally.listeners, tally.heard) == (12, 12)
    # Two seconds, and the chunks that are sent ahead.
    assert 12 * 19 <= tally.chunks <= 12 * 36
    assert no_fault(tally)
    assert tally.bytes > tally.chunks * 17_640
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["index"] for line in lines} == {2}
    assert [line["kind"] for line in lines][-2:] == ["progress", "result"]
    assert Tally.from_json(lines[-1]["tally"]).chunks == tally.chunks
    assert lines[-2]["listening"] == 12


async def test_listeners_are_spread_over_streams(broker: MemoryBroker, tally: Tally) -> None:
    async with running_edge(broker) as edge:
        load = asyncio.create_task(run(options((await edge.ready()).ws, streams=5, seed=70)))
        await until(lambda: tally.heard == 12)
        body = await asyncio.to_thread(urllib.request.urlopen, f"{edge.http}/api/streams", None, 5)
        await load
    heard = [stream["stream_id"].rpartition("-")[2] for stream in json.load(body)["streams"]]
    assert sorted(heard) == ["70", "71", "72", "73", "74"]


async def test_listeners_of_a_drained_edge_resume_without_a_gap(broker: MemoryBroker, tally: Tally) -> None:
    (port,) = free_ports(1)
    secret = "the same on both edges"  # noqa: S105 - of this test only
    async with running_edge(broker, secret=secret) as first, running_edge(broker, secret=secret) as second:
        await first.ready()
        await second.ready()
        current = first

        async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            except OSError:
                pass
            finally:
                writer.close()

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            edge_reader, edge_writer = await asyncio.open_connection("127.0.0.1", current.port)
            await asyncio.gather(pipe(reader, edge_writer), pipe(edge_reader, writer))

        # Like a Kubernetes Service: one address, with the current edge behind it.
        server = await asyncio.start_server(forward, "127.0.0.1", port)
        load = asyncio.create_task(run(options(f"ws://127.0.0.1:{port}/ws", listeners=6, seconds=4.0)))
        await until(lambda: tally.heard == 6)
        current = second
        await first.service.drain()
        await load
        server.close()
    assert (tally.reconnects, tally.recovered) == (6, 6)
    assert no_fault(tally)
    assert tally.underruns == 0


async def test_refused_listeners_are_counted_and_try_again(broker: MemoryBroker) -> None:
    async with running_edge(broker, max_connections=4) as edge:
        tally = await run(options((await edge.ready()).ws, listeners=6))
    assert tally.heard == 4
    assert tally.refused >= 2


async def test_a_run_without_an_edge_still_has_a_result() -> None:
    tally = await run(options(f"ws://127.0.0.1:{free_ports(1)[0]}/ws", listeners=2, seconds=0.5))
    assert (tally.listeners, tally.heard) == (2, 0)


async def test_sigterm_ends_the_run_early_with_a_result(
    broker: MemoryBroker, tally: Tally, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_edge(broker) as edge:
        load = asyncio.create_task(run(options((await edge.ready()).ws, seconds=60.0)))
        await until(lambda: tally.heard == 12)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(5):
            await load
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["early"] is True
