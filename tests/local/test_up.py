import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from services.local import up
from services.local.doctor import machine
from services.local.doctor.findings import Finding
from services.local.ports import free_ports
from services.local.processes.log_lines import read_line
from services.local.processes.restarts import GiveUp, Restart
from services.local.screen import Screen
from services.runtime.settings import Settings

SECRET = "a secret of more than 16 letters"  # noqa: S105 - of this test only
ADDRESSES = up.Addresses(
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


def conductor(paper: Paper, addresses: up.Addresses = ADDRESSES, **options: bool) -> up.Conductor:
    flags = {"verbose": False, "show_info": True, "raw_json": False, **options}
    return up.Conductor(paper.screen, addresses=addresses, **flags)


def event(name: str, level: str = "info", **fields: object) -> bytes:
    return json.dumps({"event": name, "level": level, **fields}).encode()


def test_public_ports_are_the_settings_and_the_others_are_free_ones() -> None:
    addresses = up.choose_addresses(Settings(port=8100, metrics_port=9100, host="0.0.0.0"), "nats://x:1")  # noqa: S104
    assert (addresses.host, addresses.edge_port, addresses.metrics_port) == ("127.0.0.1", 8100, 9100)
    assert addresses.internal_ports["telemetry"] == 9100
    assert len(set(addresses.internal_ports.values())) == 3


def test_port_0_takes_a_free_one() -> None:
    addresses = up.choose_addresses(Settings(port=0, metrics_port=0), "nats://x:1")
    assert 0 < addresses.edge_port != addresses.metrics_port > 0


def test_each_service_is_told_its_ports_and_the_bus() -> None:
    children = {child.name: child for child in up.plan_children(ADDRESSES, own_nats=True, drain_s=1.0, secret=SECRET)}
    assert {child.environ["NATS_URL"] for child in children.values()} == {"nats://127.0.0.1:5000"}
    assert {name: child.environ["METRICS_PORT"] for name, child in children.items()} == {
        "synthesis": "5001", "edge": "5002", "telemetry": "9090",
    }  # fmt: skip
    assert children["edge"].environ["AURALIS_PORT"] == "8000"
    assert children["edge"].environ["AURALIS_DRAIN_SECONDS"] == "1"
    assert children["edge"].environ["AURALIS_SECRET"] == SECRET
    assert "AURALIS_SECRET" not in children["synthesis"].environ
    assert children["synthesis"].environ["AURALIS_HOST"] == "127.0.0.1"
    assert children["telemetry"].module == "services.telemetry"


def test_credentials_are_for_a_server_of_the_users_own_only() -> None:
    own = up.plan_children(ADDRESSES, own_nats=True, drain_s=1.0, secret=SECRET)[0].environ
    given = up.plan_children(ADDRESSES, own_nats=False, drain_s=1.0, secret=SECRET)[0].environ
    assert own["NATS_TOKEN"] == ""
    assert "NATS_TOKEN" not in given


def test_the_announcement_names_every_address_and_a_line_to_hear_it() -> None:
    text = dict(up.announcement(ADDRESSES, http_stream=False, ffplay=True))
    assert text["Player"] == "http://127.0.0.1:8000/"
    assert text["In a terminal"].startswith("auralis listen ws://127.0.0.1:8000/ws -o - | ffplay")
    assert text["Metrics"] == "http://127.0.0.1:9090/metrics"
    assert text["Fleet"] == "http://127.0.0.1:9090/"
    assert text["NATS"] == "nats://127.0.0.1:5000"
    assert text["edge (internal)"] == "http://127.0.0.1:5002/readyz"


def test_curl_is_offered_where_the_edge_streams_over_http_and_a_missing_player_is_said() -> None:
    lines = up.announcement(ADDRESSES, http_stream=True, ffplay=False)
    assert dict(lines)["In a terminal"].startswith("curl -sN http://127.0.0.1:8000/stream.opus | ffplay")
    assert "ffplay is not installed" in lines[-1][1]


def test_reasons_for_not_being_ready_are_told_in_words() -> None:
    conditions = {"bus": {"ok": False, "detail": "connecting"}, "port": {"ok": True, "detail": ""}, "a": {"ok": False}}
    assert up.why_not_ready(json.dumps({"conditions": conditions}).encode()) == "bus (connecting), a"
    for body in (b"", b"[]", b'{"conditions": 3}', b'{"conditions": {}}'):
        assert up.why_not_ready(body) == "not ready"


def test_findings_that_are_well_are_not_shown_and_a_failure_ends_the_start(paper: Paper) -> None:
    good = [Finding("Disk", "ok", "plenty"), Finding("Compiler", "warn", "none", "It is slow.", "Install one.")]
    assert up.show_findings(paper.screen, good)
    assert not up.show_findings(
        paper.screen, [Finding("Port 8000", "fail", "in use", "No player.", "Set AURALIS_PORT.")]
    )
    assert paper.lines() == [
        "! Compiler: none. It is slow. Install one.",
        "✗ Port 8000: in use. No player. Set AURALIS_PORT.",
    ]


def test_while_starting_only_warnings_and_progress_are_shown(paper: Paper) -> None:
    c = conductor(paper)
    c.line("edge", read_line(event("listening")))
    c.line("edge", read_line(event("setting ignored", "warning", detail="X")))
    c.line("synthesis", read_line(event("progress", stage="voices", fraction=0.5)))
    c.line("synthesis", read_line(event("progress", stage="odd")))
    assert paper.lines() == ["edge      │ setting ignored detail=X", "  synthesis: voices …"]


def test_verbose_shows_everything_and_json_stays_json(paper: Paper) -> None:
    line = event("listening", port=1)
    conductor(paper, verbose=True).line("edge", read_line(line))
    conductor(paper, verbose=True, raw_json=True).line("edge", read_line(line))
    assert paper.lines() == ["edge      │ listening port=1", line.decode()]


def test_an_end_is_told_with_the_last_lines_and_what_happens_now(paper: Paper) -> None:
    c = conductor(paper)
    for raw in (b"one", event("two"), event("three", "error")):
        c.line("edge", read_line(raw))
    c.ended("edge", "exit status 1", ["one", "two", "three"], Restart(0.5, 1))
    c.ended("edge", "SIGSEGV", [], Restart(1.0, 2))
    c.line("edge", read_line(b"bad"))
    c.ended("edge", "exit status 2", ["bad"], GiveUp("no use"))
    assert paper.lines() == [
        "edge      │ three",
        "✗ edge ended: exit status 1. It is started again in 0.5 s.",
        "  Its last lines:",
        "edge      │ one",
        "edge      │ two",
        "✗ edge ended: SIGSEGV. It is started again in 1 s (failure 2 in a row).",
        "✗ edge ended: exit status 2.",
        "  Its last lines:",
        "edge      │ bad",
    ]


@asynccontextmanager
async def ready_ports(answer: Callable[[str], bytes]) -> AsyncIterator[up.Addresses]:
    """Three servers that answer `/readyz` with what `answer(service)` gives."""
    async with closing() as servers:
        ports = {}
        for name in up.SERVICES:

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


async def test_all_are_ready_when_each_has_said_so_and_a_restarted_one_is_waited_for_again(paper: Paper) -> None:
    answers = dict.fromkeys(up.SERVICES, READY)
    answers["edge"] = NOT_READY
    async with ready_ports(lambda name: answers[name]) as addresses:
        c = conductor(paper, addresses)
        for name in up.SERVICES:
            c.started(name, 1)
        ready = asyncio.Event()
        watching = asyncio.create_task(c.watch_readiness(ready))
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ready.wait(), 0.3)
            answers["edge"] = READY
            await asyncio.wait_for(ready.wait(), 5)
            c.line("edge", read_line(event("listener joined")))
            c.started("edge", 2)
            async with asyncio.timeout(5):
                while c.waiting:
                    await asyncio.sleep(0.01)
        finally:
            watching.cancel()
    lines = paper.lines()
    assert sorted(line.split(" (")[0] for line in lines[:3]) == [f"✓ {name} is ready" for name in sorted(up.SERVICES)]
    assert lines[2].startswith("✓ edge")
    assert lines[3] == "edge      │ listener joined"
    assert lines[4].startswith("✓ edge is ready")


async def test_a_service_that_does_not_answer_is_not_ready(paper: Paper) -> None:
    ports = dict(zip(up.SERVICES, free_ports(3), strict=True))
    c = conductor(paper, replace(ADDRESSES, internal_ports=ports))
    assert await c.ask("edge") == "starting"
    async with ready_ports(lambda _: NOT_READY) as addresses:
        assert await conductor(paper, addresses).ask("edge") == "bus (connecting)"


def test_bad_settings_are_all_listed_and_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AURALIS_PORT", "eighty")
    monkeypatch.setenv("BUFFER_INITIAL_TIER", "huge")
    assert up.run(color=False) == 2
    out = capsys.readouterr().out
    assert "AURALIS_PORT: got 'eighty'" in out
    assert "BUFFER_INITIAL_TIER: got 'huge'" in out


async def test_a_port_in_use_is_told_with_the_variable_and_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("AURALIS_PORT", str(port))
    monkeypatch.setenv("METRICS_PORT", "0")
    assert await asyncio.to_thread(up.run, color=False) == 1
    server.close()
    out = capsys.readouterr().out
    assert f"port {port} is in use by" in out
    assert "set AURALIS_PORT to another port" in out


def test_a_bus_that_does_not_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NATS_URL", f"nats://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setenv("AURALIS_PORT", "0")
    monkeypatch.setenv("METRICS_PORT", "0")
    assert up.run(color=False) == 1
    assert "unset NATS_URL" in capsys.readouterr().out


def test_a_variable_counts_as_given_from_the_environment_or_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NATS_URL", raising=False)
    assert machine.given("NATS_URL") == ""
    Path(".env").write_text("NATS_URL=nats://file:1\n")
    assert machine.given("NATS_URL") == "nats://file:1"
    monkeypatch.setenv("NATS_URL", "nats://environment:1")
    assert machine.given("NATS_URL") == "nats://environment:1"
    # Set to nothing is how one says "not this" over a file.
    monkeypatch.setenv("NATS_URL", "")
    assert machine.given("NATS_URL") == ""
