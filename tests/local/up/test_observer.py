import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from rich.console import Console

from services.local.ports import free_ports
from services.local.processes.log_lines import read_line
from services.local.processes.restarts import GiveUp, Restart
from services.local.up.observer import ScreenObserver
from services.local.up.plan import SERVICES, Addresses
from services.local.up.screen import Screen
from tests.support.waiting import until

ADDRESSES = Addresses(
    host="127.0.0.1",
    edge_port=8000,
    metrics_port=9090,
    internal_ports={"synthesis": 5001, "edge": 5002, "telemetry": 9090},
    nats_url="nats://127.0.0.1:5000",
)


class Paper:
    """A screen whose lines can be read."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        self.screen = Screen(Console(file=self.out, width=200))

    def lines(self) -> list[str]:
        self.screen.close()
        return self.out.getvalue().splitlines()


@pytest.fixture
def paper() -> Iterator[Paper]:
    paper = Paper()
    yield paper
    paper.screen.close()


def observer(
    paper: Paper, addresses: Addresses = ADDRESSES, *, clock: Callable[[], float] = time.monotonic, **options: bool
) -> ScreenObserver:
    flags = {"verbose": False, "show_info": True, "raw_json": False, **options}
    return ScreenObserver(paper.screen, addresses=addresses, clock=clock, **flags)


def event(name: str, level: str = "info", **fields: object) -> bytes:
    return json.dumps({"event": name, "level": level, **fields}).encode()


def test_only_warnings_and_progress_are_shown_during_the_start(paper: Paper) -> None:
    shown = observer(paper)
    shown.line("edge", read_line(event("listening")))
    shown.line("edge", read_line(event("setting ignored", "warning", detail="X")))
    shown.line("synthesis", read_line(event("progress", stage="voices", fraction=0.5)))
    shown.line("synthesis", read_line(event("progress", stage="odd")))
    assert paper.lines() == ["edge      │ setting ignored detail=X", "  synthesis: voices …"]


def test_verbose_shows_every_line_and_json_stays_json(paper: Paper) -> None:
    line = event("listening", port=1)
    observer(paper, verbose=True).line("edge", read_line(line))
    observer(paper, verbose=True, raw_json=True).line("edge", read_line(line))
    assert paper.lines() == ["edge      │ listening port=1", line.decode()]


def test_an_end_is_shown_with_the_unseen_last_lines_and_the_decision(paper: Paper) -> None:
    shown = observer(paper)
    for raw in (b"one", event("two"), event("three", "error")):
        shown.line("edge", read_line(raw))
    shown.ended("edge", "exit status 1", ["one", "two", "three"], Restart(0.5, 1))
    shown.ended("edge", "SIGSEGV", [], Restart(1.0, 2))
    shown.line("edge", read_line(b"bad"))
    shown.ended("edge", "exit status 2", ["bad"], GiveUp("no use"))
    assert paper.lines() == [
        "edge      │ three",
        "✗ edge ended: exit status 1. It restarts in 0.5 s.",
        "  Its last lines:",
        "edge      │ one",
        "edge      │ two",
        "✗ edge ended: SIGSEGV. It restarts in 1 s (failure 2 in a row).",
        "✗ edge ended: exit status 2.",
        "  Its last lines:",
        "edge      │ bad",
    ]


@asynccontextmanager
async def ready_ports(answer: Callable[[str], bytes]) -> AsyncIterator[Addresses]:
    """Three servers that answer `/readyz` with what `answer(service)` gives."""
    async with closing() as servers:
        ports = {}
        for name in SERVICES:

            async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, name: str = name) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer(name))
                writer.close()

            server = await asyncio.start_server(handle, "127.0.0.1", 0)
            servers.append(server)
            ports[name] = server.sockets[0].getsockname()[1]
        yield replace(ADDRESSES, internal_ports=ports)


@asynccontextmanager
async def closing() -> AsyncIterator[list[asyncio.Server]]:
    servers: list[asyncio.Server] = []
    try:
        yield servers
    finally:
        for server in servers:
            server.close()
            await server.wait_closed()


READY = b"HTTP/1.0 200 OK\r\n\r\n{}"
NOT_READY = b'HTTP/1.0 503 No\r\n\r\n{"conditions": {"bus": {"ok": false, "detail": "connecting"}}}'


async def test_readiness_is_shown_for_each_service_and_again_after_a_restart(paper: Paper) -> None:
    answers = dict.fromkeys(SERVICES, READY)
    answers["edge"] = NOT_READY
    async with ready_ports(lambda name: answers[name]) as addresses:
        shown = observer(paper, addresses)
        for name in SERVICES:
            shown.started(name, 1)
        ready = asyncio.Event()
        watching = asyncio.create_task(shown.watch_readiness(ready))
        try:
            await until(lambda: shown.waiting == ("edge",))
            assert not ready.is_set()
            answers["edge"] = READY
            await asyncio.wait_for(ready.wait(), 5)
            shown.line("edge", read_line(event("listener joined")))
            shown.started("edge", 2)
            await until(lambda: not shown.waiting)
        finally:
            watching.cancel()
    lines = paper.lines()
    assert sorted(line.split(" (")[0] for line in lines[:3]) == [f"✓ {name} is ready" for name in sorted(SERVICES)]
    assert lines[2].startswith("✓ edge")
    assert lines[3] == "edge      │ listener joined"
    assert lines[4].startswith("✓ edge is ready")


async def test_a_service_that_does_not_answer_is_not_ready(paper: Paper) -> None:
    ports = dict(zip(SERVICES, free_ports(3), strict=True))
    shown = observer(paper, replace(ADDRESSES, internal_ports=ports))
    assert await shown.why_not_ready("edge") == "starting"
    async with ready_ports(lambda _: NOT_READY) as addresses:
        assert await observer(paper, addresses).why_not_ready("edge") == "bus (connecting)"


@pytest.mark.parametrize(("bar", "shown_wait"), [(False, True), (True, False)])
async def test_a_long_wait_is_shown_with_its_reason_unless_a_bar_is_moving(
    paper: Paper,
    bar: bool,  # noqa: FBT001 - pytest passes parameters by name
    shown_wait: bool,  # noqa: FBT001 - as above
) -> None:
    now_s = 0.0
    async with ready_ports(lambda name: NOT_READY if name == "edge" else READY) as addresses:
        shown = observer(paper, addresses, clock=lambda: now_s)
        for name in SERVICES:
            shown.started(name, 1)
        if bar:
            shown.line("edge", read_line(event("progress", stage="voices", fraction=0.5)))
        watching = asyncio.create_task(shown.watch_readiness(asyncio.Event()))
        try:
            await until(lambda: shown.waiting == ("edge",))
            now_s = 20.0
            shown.line("edge", read_line(event("ready")))  # polls without a pause
            shown.started("synthesis", 2)
            await until(lambda: shown.waiting == ("edge",))
        finally:
            watching.cancel()
    assert ("… waiting for edge for 20 s (bus (connecting))" in paper.lines()) == shown_wait
