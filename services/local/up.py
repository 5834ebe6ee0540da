"""`auralis up`: NATS and the three services on this machine, watched, with a line for each step."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.local import http_get
from services.local.doctor import machine
from services.local.doctor.findings import Finding
from services.local.ports import free_ports, reachable_host
from services.local.processes import nats_server
from services.local.processes.log_lines import LEVELS, LogLine
from services.local.processes.nats_server import LocalNats, NatsServerError
from services.local.processes.restarts import GiveUp, Restart
from services.local.processes.supervisor import TAIL_LINES, ChildSpec, Supervisor
from services.local.screen import Screen, UpConsole
from services.runtime.settings import Settings

SERVICES: Final = ("synthesis", "edge", "telemetry")
DRAIN_S: Final = 1.0
"""On one machine there is no other edge to move listeners to: Ctrl-C should not take half a minute."""
STOP_MARGIN_S: Final = 9.0
"""Beyond the drain: a renderer finishes its batch, a server its requests."""
_POLL_S: Final = 0.5
"""Between two looks at `/readyz`; a service that says that it is ready is looked at once."""
_WAITING_TOLD_EVERY_S: Final = 15.0
_NO_CREDENTIALS: Final = (
    "NATS_USER", "NATS_PASSWORD", "NATS_TOKEN", "NATS_CREDENTIALS_FILE", "NATS_TLS_CA_FILE",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything is.

    Attributes:
        host: what the public ports are reached at.
        edge_port, metrics_port: the public ports.
        internal_ports: service -> the port of its `/readyz`.
        nats_url: the bus.
    """

    host: str
    edge_port: int
    metrics_port: int
    internal_ports: Mapping[str, int]
    nats_url: str

    def ready_at(self, service: str) -> tuple[str, int]:
        """Host and port of the service's `/readyz`."""
        # Internal ports are kept on loopback; that of telemetry is its public one.
        return (self.host if service == "telemetry" else "127.0.0.1"), self.internal_ports[service]


def choose_addresses(settings: Settings, nats_url: str) -> Addresses:
    """Public ports from the settings, free ones for the rest (and where a setting is 0)."""
    synthesis_port, edge_internal, edge_free, metrics_free = free_ports(4)
    metrics_port = settings.metrics_port or metrics_free
    return Addresses(
        host=reachable_host(settings.host),
        edge_port=settings.port or edge_free,
        metrics_port=metrics_port,
        internal_ports={"synthesis": synthesis_port, "edge": edge_internal, "telemetry": metrics_port},
        nats_url=nats_url,
    )


def plan_children(addresses: Addresses, *, own_nats: bool, drain_s: float, secret: str) -> list[ChildSpec]:
    """The services as children of the supervisor.

    Args:
        own_nats: the bus is a server of ours, which asks for no credentials.
        drain_s: over how long a stopping edge spreads its goodbyes.
        secret: signs resume tokens: an edge that is started again takes those of the one before.
    """
    common = {
        "NATS_URL": addresses.nats_url,
        "AURALIS_LOG_FORMAT": "json",
        "AURALIS_DRAIN_SECONDS": f"{drain_s:g}",
        "AURALIS_INTERNAL_HOST": "127.0.0.1",
    }
    if own_nats:
        common |= dict.fromkeys(_NO_CREDENTIALS, "")
    own = {
        "synthesis": {"AURALIS_HOST": "127.0.0.1"},
        "edge": {"AURALIS_PORT": str(addresses.edge_port), "AURALIS_SECRET": secret},
        "telemetry": {},
    }
    return [
        ChildSpec(
            name,
            module=f"services.{name}",
            environ={**common, "METRICS_PORT": str(addresses.internal_ports[name]), **own[name]},
        )
        for name in SERVICES
    ]


def announcement(addresses: Addresses, *, http_stream: bool, ffplay: bool) -> list[tuple[str, str]]:
    """What to print when everything is ready: names and values.

    Args:
        http_stream: the edge serves `/stream.opus`, so that curl alone can fetch music.
        ffplay: ffplay is on PATH.
    """
    edge = f"{addresses.host}:{addresses.edge_port}"
    if http_stream:
        hear = f"curl -sN http://{edge}/stream.opus | ffplay -nodisp -loglevel warning -i -"
    else:
        hear = (
            f"auralis listen ws://{edge}/ws -o - | "
            "ffplay -nodisp -loglevel warning -f s16le -ar 44100 -ch_layout stereo -i -"
        )
    metrics = f"http://{addresses.host}:{addresses.metrics_port}"
    lines = [
        ("Player", f"http://{edge}/"),
        ("In a terminal", hear),
        ("Metrics", f"{metrics}/metrics"),
        ("Fleet", f"{metrics}/"),
        ("NATS", nats_server.without_credentials(addresses.nats_url)),
    ]
    for name in SERVICES:
        host, port = addresses.ready_at(name)
        lines.append((f"{name} (internal)", f"http://{host}:{port}/readyz"))
    if not ffplay:
        lines.append(
            ("", "ffplay is not installed; it comes with ffmpeg (`apt install ffmpeg`, `brew install ffmpeg`)")
        )
    return lines


class Conductor:
    """Shows what the supervisor's children do and knows which of them are ready."""

    def __init__(self, screen: Screen, *, addresses: Addresses, verbose: bool, show_info: bool, raw_json: bool) -> None:
        self._screen = screen
        self._addresses = addresses
        self._verbose = verbose
        self._show_info = show_info
        self._raw_json = raw_json
        self._pending: dict[str, float] = {}
        # What a child wrote that was not shown: shown when it dies. Written by its thread, read after its end.
        self._hidden: dict[str, deque[str]] = {}
        self._bars: set[str] = set()
        self._playing = False
        self._look = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.stopping = False

    @property
    def waiting(self) -> tuple[str, ...]:
        """Services that were started and are not ready yet."""
        return tuple(self._pending)

    def stop(self) -> None:
        """Everything is being stopped: bars that will not move any more are taken away."""
        self.stopping = True
        for name in tuple(self._bars):
            self._screen.end_progress(name)

    # What the supervisor tells.

    def started(self, name: str, pid: int) -> None:
        """A child was started: it is waited for."""
        if name in SERVICES:
            self._pending[name] = time.monotonic()
        if self._verbose:
            self._screen.say(f"{name} started (pid {pid})", "dim", mark="·", mark_style="dim")

    def line(self, name: str, line: LogLine) -> None:
        """A child wrote a line. Called from threads."""
        if line.event == "progress":
            if self.stopping:
                return
            fraction = line.fields.get("fraction")
            if isinstance(fraction, int | float):
                self._bars.add(name)
                self._screen.progress(name, str(line.fields.get("stage", "warming up")), min(1.0, max(0.0, fraction)))
                return
        if line.event == "ready" and self._loop is not None:
            # At the very end the loop may be closed already.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._look.set)
        shown = self._verbose or line.level >= LEVELS["warning"]
        # nats-server's own log speaks of ordinary things on lines that carry no level.
        if self._playing and self._show_info and name != "nats" and not self.stopping:
            shown = shown or line.level >= LEVELS["info"]
        if not shown:
            self._hidden.setdefault(name, deque(maxlen=TAIL_LINES)).append(line.text)
            return
        if self._raw_json:
            self._screen.raw(line.raw)
        else:
            self._screen.log(name, line)

    def ended(self, name: str, how: str, last_lines: Sequence[str], decision: Restart | GiveUp) -> None:
        """A child ended unasked."""
        self._pending.pop(name, None)
        self._bars.discard(name)
        self._screen.end_progress(name)
        if isinstance(decision, Restart):
            again = f" It is started again in {decision.delay_s:g} s"
            again += f" (failure {decision.failures} in a row)." if decision.failures > 1 else "."
        else:
            again = ""
        self._screen.say(f"{name} ended: {how}.{again}", mark="✗", mark_style="bold red")
        hidden = self._hidden.pop(name, ())
        # Errors are on the screen already, with their traces: they are not shown twice.
        unseen = [text for text in last_lines if text in hidden]
        if unseen:
            self._screen.say("  Its last lines:", "dim")
        for text in unseen:
            self._screen.log(name, LogLine(text))

    # Readiness.

    async def watch_readiness(self, ready: asyncio.Event) -> None:
        """Poll `/readyz` of what is not ready, for ever; sets `ready` when all are for the first time."""
        self._loop = asyncio.get_running_loop()
        told_s = time.monotonic()
        seen: set[str] = set()
        while True:
            names = self.waiting
            answers = await asyncio.gather(*(self.ask(name) for name in names))
            for name, answer in zip(names, answers, strict=True):
                if answer is None and name in self._pending:
                    took_s = time.monotonic() - self._pending.pop(name)
                    seen.add(name)
                    self._bars.discard(name)
                    self._screen.end_progress(name)
                    self._screen.say(f"{name} is ready ({took_s:.1f} s)", mark="✓")
            if not ready.is_set() and seen.issuperset(SERVICES) and not self._pending:
                self._playing = True
                ready.set()
            now_s = time.monotonic()
            if self._pending and now_s - told_s >= _WAITING_TOLD_EVERY_S:
                told_s = now_s
                waits = [
                    f"{name} for {now_s - self._pending[name]:.0f} s ({answer})"
                    for name, answer in zip(names, answers, strict=True)
                    # A bar that moves says it better.
                    if answer is not None
                    and now_s - self._pending.get(name, now_s) >= _WAITING_TOLD_EVERY_S
                    and not (self._show_info and name in self._bars)
                ]
                if waits:
                    self._screen.say(f"waiting for {', '.join(waits)}", "dim", mark="…")
            self._look.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), _POLL_S)

    async def ask(self, name: str) -> str | None:
        """None when ready, else why not."""
        host, port = self._addresses.ready_at(name)
        response = await http_get.get(host, port, "/readyz", timeout_s=2.0)
        if response is None:
            return "starting"
        if response.status == 200:
            return None
        return why_not_ready(response.body)


def why_not_ready(body: bytes) -> str:
    """The failing conditions of a `/readyz` answer, in words."""
    try:
        conditions = json.loads(body)["conditions"]
        reasons = [
            f"{name} ({each['detail']})" if each.get("detail") else str(name)
            for name, each in conditions.items()
            if not each["ok"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return "not ready"
    return ", ".join(reasons) or "not ready"


def quick_findings(settings: Settings) -> list[Finding]:
    """What must be looked at before anything is started; together a few milliseconds."""
    return [
        machine.python(),
        machine.system(),
        machine.torch(),
        *machine.public_ports(settings, if_taken="fail"),
        machine.disk(settings),
        machine.memory(),
        machine.compiler(settings),
        machine.open_files(settings),
    ]


def show_findings(screen: Screen, findings: Iterable[Finding]) -> bool:
    """Show what is not well; whether `auralis up` can go on."""
    good = True
    for finding in findings:
        if finding.level == "fail":
            screen.say(finding.sentence, mark="✗", mark_style="bold red")
            good = False
        elif finding.level == "warn":
            screen.say(finding.sentence, mark="!", mark_style="yellow")
    return good


def run(*, color: bool = True, verbose: bool = False) -> int:
    """Run everything until Ctrl-C, SIGTERM or a failure that cannot be helped; returns the exit status."""
    console = UpConsole(no_color=not color, force_terminal=None if color else False)
    screen = Screen(console)
    try:
        return asyncio.run(_run(screen, verbose=verbose, terminal=console.is_terminal))
    finally:
        screen.close()


async def _run(screen: Screen, *, verbose: bool, terminal: bool) -> int:
    begun_s = time.monotonic()
    settings, finding = machine.read_settings()
    if settings is None:
        screen.say("Auralis cannot start: these settings cannot be used.", mark="✗", mark_style="bold red")
        for problem in finding.observed.split("; "):
            screen.say(f"    {problem}")
        return 2
    if not show_findings(screen, [*([finding] if finding.level == "warn" else []), *quick_findings(settings)]):
        return 1
    own_nats: LocalNats | None = None
    try:
        url = settings.nats.url
        if not machine.given("NATS_URL"):
            own_nats = LocalNats(nats_server.find_binary(), machine_bytes=machine.memory_limit_bytes())
            url = own_nats.url
        else:
            info = await asyncio.to_thread(nats_server.check_server, url)
            screen.say(
                f"NATS {info.version if info else '(not asked)'} at {nats_server.without_credentials(url)}", mark="✓"
            )
        addresses = choose_addresses(settings, url)
        return await _supervise(
            screen, settings, addresses, own_nats, begun_s=begun_s, verbose=verbose, terminal=terminal
        )
    except NatsServerError as error:
        screen.say(str(error), mark="✗", mark_style="bold red")
        return 1
    finally:
        if own_nats is not None:
            own_nats.remove()


async def _supervise(
    screen: Screen,
    settings: Settings,
    addresses: Addresses,
    own_nats: LocalNats | None,
    *,
    begun_s: float,
    verbose: bool,
    terminal: bool,
) -> int:
    conductor = Conductor(
        screen, addresses=addresses, verbose=verbose, show_info=terminal, raw_json=settings.log_format == "json"
    )
    drain_s = settings.edge.drain_s if machine.given("AURALIS_DRAIN_SECONDS") else DRAIN_S
    secret = settings.edge.secret or secrets.token_urlsafe(32)
    children = plan_children(addresses, own_nats=own_nats is not None, drain_s=drain_s, secret=secret)
    if own_nats is not None:
        children.append(own_nats.child())
    supervisor = Supervisor(children, observer=conductor, stop_timeout_s=drain_s + STOP_MARGIN_S)

    def stop(why: str) -> None:
        if conductor.stopping:
            screen.say("Killing what is left.", mark="!", mark_style="yellow")
        else:
            screen.say(f"{why}: stopping everything. Again ends it at once.", mark="·", mark_style="dim")
        conductor.stop()
        supervisor.stop()

    loop = asyncio.get_running_loop()
    for number, why in ((signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "Terminal closed")):
        loop.add_signal_handler(number, stop, why)
    ready = asyncio.Event()
    helpers = [
        asyncio.create_task(conductor.watch_readiness(ready)),
        asyncio.create_task(_announce(screen, addresses, ready, begun_s)),
    ]
    failed: NatsServerError | None = None
    running = asyncio.create_task(supervisor.run())
    if own_nats is not None:
        try:
            info = await asyncio.to_thread(
                nats_server.wait_until_answers, own_nats.url, given_up=lambda: conductor.stopping
            )
            screen.say(f"NATS {info.version} at {own_nats.url}, with JetStream in memory", mark="✓")
        except NatsServerError as error:
            if not conductor.stopping:
                failed = error
                supervisor.stop()
    try:
        await running
    finally:
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
    if failed is not None:
        raise failed
    if supervisor.gave_up:
        screen.say(f"{supervisor.gave_up}. Everything is stopped.", mark="✗", mark_style="bold red")
        return 2
    screen.say("Stopped; no process is left.", mark="✓")
    return 0


async def _announce(screen: Screen, addresses: Addresses, ready: asyncio.Event, begun_s: float) -> None:
    await ready.wait()
    took_s = time.monotonic() - begun_s
    mounts = await http_get.get(addresses.host, addresses.edge_port, "/listen.m3u")
    lines = announcement(
        addresses,
        http_stream=mounts is not None and mounts.status == 200,
        ffplay=shutil.which("ffplay") is not None,
    )
    screen.say()
    screen.say(f"Auralis is playing (ready in {took_s:.1f} s). Ctrl-C stops everything.", "bold")
    for name, value in lines:
        screen.say(f"  {name:<21} {value}")
    screen.say()


if __name__ == "__main__":
    sys.exit(run())
