"""`auralis up` (shell): checks the machine, starts NATS and the services, stops them in order."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import time
from collections.abc import Iterable
from typing import Final

from services.local import http_get
from services.local.doctor import machine
from services.local.doctor.findings import Finding
from services.local.processes import nats_server
from services.local.processes.nats_server import LocalNats, NatsServerError
from services.local.processes.supervisor import Supervisor
from services.local.up.observer import ScreenObserver
from services.local.up.plan import SERVICES, Addresses, announcement, choose_addresses, plan_children
from services.local.up.screen import Screen, UpConsole
from services.runtime.settings import Settings

DRAIN_S: Final = 1.0
"""Default drain of the edge: on one machine its listeners have no other edge to move to, so Ctrl-C can be quick."""
STOP_MARGIN_S: Final = 9.0
"""How long a child may take to stop beyond the drain: a renderer finishes its batch, a server its requests."""


def quick_findings(settings: Settings) -> list[Finding]:
    """What is checked before anything starts; all together a few milliseconds."""
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
    """Show warnings and failures; whether `auralis up` can go on."""
    usable = True
    for finding in findings:
        if finding.level == "fail":
            screen.say(finding.sentence, mark="✗", mark_style="bold red")
            usable = False
        elif finding.level == "warn":
            screen.say(finding.sentence, mark="!", mark_style="yellow")
    return usable


def run(*, color: bool = True, verbose: bool = False) -> int:
    """Run everything until Ctrl-C, SIGTERM or a failure that a restart cannot mend.

    Returns:
        Exit status: 0 after a stop, 1 where the machine lacks something, 2 for unusable settings.
    """
    console = UpConsole(no_color=not color, force_terminal=None if color else False)
    screen = Screen(console)
    try:
        return asyncio.run(_run(screen, verbose=verbose, terminal=console.is_terminal))
    finally:
        screen.close()


async def _run(screen: Screen, *, verbose: bool, terminal: bool) -> int:
    began_s = time.monotonic()
    settings, finding = machine.read_settings()
    if settings is None:
        screen.say("Auralis cannot start: these settings cannot be used.", mark="✗", mark_style="bold red")
        for problem in finding.observed.split("; "):
            screen.say(f"    {problem}")
        return 2
    if not show_findings(screen, [*([finding] if finding.level == "warn" else []), *quick_findings(settings)]):
        return 1
    own_nats: LocalNats | None = None
    passwords: dict[str, str] | None = None
    try:
        url = settings.nats.url
        if not machine.given("NATS_URL"):
            # A letter first: NATS reads a text that begins with a digit as a number.
            passwords = {service: f"a{secrets.token_hex(16)}" for service in SERVICES}
            own_nats = LocalNats(
                nats_server.find_binary(), machine_bytes=machine.memory_limit_bytes(), passwords=passwords
            )
            url = own_nats.url
        else:
            info = await asyncio.to_thread(nats_server.check_server, url)
            screen.say(
                f"NATS {info.version if info else '(not asked)'} at {nats_server.without_credentials(url)}", mark="✓"
            )
        addresses = choose_addresses(settings, url)
        return await _supervise(
            screen, settings, addresses, own_nats, passwords, began_s=began_s, verbose=verbose, terminal=terminal
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
    passwords: dict[str, str] | None,
    *,
    began_s: float,
    verbose: bool,
    terminal: bool,
) -> int:
    observer = ScreenObserver(
        screen, addresses=addresses, verbose=verbose, show_info=terminal, raw_json=settings.log_format == "json"
    )
    drain_s = settings.edge.drain_s if machine.given("AURALIS_DRAIN_SECONDS") else DRAIN_S
    secret = settings.edge.secret or secrets.token_urlsafe(32)
    children = plan_children(addresses, passwords=passwords, drain_s=drain_s, secret=secret)
    if own_nats is not None:
        children.append(own_nats.child())
    supervisor = Supervisor(children, observer=observer, stop_timeout_s=drain_s + STOP_MARGIN_S)

    def stop(why: str) -> None:
        if observer.stopping:
            screen.say("Killing the processes that are left.", mark="!", mark_style="yellow")
        else:
            screen.say(f"{why}: stopping everything. A second signal kills the processes.", mark="·", mark_style="dim")
        observer.stop()
        supervisor.stop()

    loop = asyncio.get_running_loop()
    for number, why in ((signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "Terminal closed")):
        loop.add_signal_handler(number, stop, why)
    ready = asyncio.Event()
    helpers = [
        asyncio.create_task(observer.watch_readiness(ready)),
        asyncio.create_task(_announce(screen, addresses, ready, began_s)),
    ]
    running = asyncio.create_task(supervisor.run())
    problem = None if own_nats is None else await _wait_for_nats(screen, own_nats, observer)
    if problem is not None:
        supervisor.stop()
    try:
        await running
    finally:
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
    if problem is not None:
        raise problem
    if supervisor.gave_up:
        screen.say(f"{supervisor.gave_up}. Everything is stopped.", mark="✗", mark_style="bold red")
        return 2
    screen.say("Stopped; no process is left.", mark="✓")
    return 0


async def _wait_for_nats(screen: Screen, nats: LocalNats, observer: ScreenObserver) -> NatsServerError | None:
    """Wait until our own server answers; why it does not, unless everything is being stopped anyway."""
    try:
        info = await asyncio.to_thread(nats_server.wait_until_answers, nats.url, given_up=lambda: observer.stopping)
    except NatsServerError as error:
        return None if observer.stopping else error
    screen.say(f"NATS {info.version} at {nats.url}, with JetStream in memory", mark="✓")
    return None


async def _announce(screen: Screen, addresses: Addresses, ready: asyncio.Event, began_s: float) -> None:
    await ready.wait()
    took_s = time.monotonic() - began_s
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
