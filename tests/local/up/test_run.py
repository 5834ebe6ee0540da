import asyncio
import io
from pathlib import Path

import pytest
from rich.console import Console

from services.local.doctor import machine
from services.local.doctor.findings import Finding
from services.local.ports import free_ports
from services.local.up.run import run, show_findings
from services.local.up.screen import Screen


def test_good_findings_are_not_shown_and_a_failure_prevents_the_start() -> None:
    out = io.StringIO()
    screen = Screen(Console(file=out, width=200))
    good = [Finding("Disk", "ok", "plenty"), Finding("Compiler", "warn", "none", "It is slow.", "Install one.")]
    assert show_findings(screen, good)
    assert not show_findings(screen, [Finding("Port 8000", "fail", "in use", "No player.", "Set AURALIS_PORT.")])
    screen.close()
    assert out.getvalue().splitlines() == [
        "! Compiler: none. It is slow. Install one.",
        "✗ Port 8000: in use. No player. Set AURALIS_PORT.",
    ]


def test_all_unusable_settings_are_listed_and_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AURALIS_PORT", "eighty")
    monkeypatch.setenv("BUFFER_INITIAL_TIER", "huge")
    assert run(color=False) == 2
    out = capsys.readouterr().out
    assert "AURALIS_PORT: got 'eighty'" in out
    assert "BUFFER_INITIAL_TIER: got 'huge'" in out


async def test_a_port_in_use_is_reported_with_its_variable_and_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("AURALIS_PORT", str(port))
    monkeypatch.setenv("METRICS_PORT", "0")
    assert await asyncio.to_thread(run, color=False) == 1
    server.close()
    out = capsys.readouterr().out
    assert f"port {port} is in use by" in out
    assert "set AURALIS_PORT to another port" in out


def test_a_bus_that_does_not_answer_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NATS_URL", f"nats://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setenv("AURALIS_PORT", "0")
    monkeypatch.setenv("METRICS_PORT", "0")
    assert run(color=False) == 1
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
