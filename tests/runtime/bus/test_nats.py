"""What only a real server can do to us: die, hang, forget, refuse."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from nats.aio.client import Client

from services.contract import subjects
from services.runtime.bus import BusError
from services.runtime.bus import nats as nats_module
from services.runtime.bus.limits import MIB, BusLimits
from services.runtime.bus.nats import NatsBus
from services.runtime.metrics import BusMetrics, PrometheusMetrics, sample_value
from services.runtime.settings import NatsSettings
from tests.runtime.bus.conftest import fresh, stored, until
from tests.support.nats import NatsServer, credentials

BLOCK = bytes(176_400)


class Fleet:
    """Buses of one test, closed at its end."""

    def __init__(self) -> None:
        self.buses: list[NatsBus] = []

    def bus(self, url: str, *, limits: BusLimits | None = None, **settings: Any) -> NatsBus:
        bus = NatsBus(
            NatsSettings(url=url, **settings), name="test", metrics=BusMetrics(PrometheusMetrics()), limits=limits
        )
        self.buses.append(bus)
        return bus


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    fleet = Fleet()
    yield fleet
    for bus in fleet.buses:
        await bus.close()
    assert len(asyncio.all_tasks()) == 1, f"tasks left behind: {asyncio.all_tasks()}"


@pytest.fixture
async def admin(nats_server: NatsServer) -> AsyncIterator[Client]:
    """A plain client, to look and meddle from outside."""
    client = Client()
    await client.connect(nats_server.url)
    yield client
    await client.close()


async def api(client: Client, operation: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    message = await client.request(f"$JS.API.{operation}", json.dumps(body or {}).encode(), timeout=2)
    answer: dict[str, Any] = json.loads(message.data)
    return answer


@pytest.fixture
def logged() -> Iterator[list[dict[str, Any]]]:
    with structlog.testing.capture_logs() as entries:
        yield entries


# --- connecting ------------------------------------------------------------------------------------------------------


async def test_connecting_waits_for_a_server_that_starts_later_and_says_what_is_missing(
    nats_server: NatsServer, fleet: Fleet, logged: list[dict[str, Any]]
) -> None:
    nats_server.kill()
    bus = fleet.bus(nats_server.url)
    connecting = asyncio.create_task(bus.connect())
    await until(lambda: any(entry["event"] == "bus away" for entry in logged))
    assert not connecting.done()
    assert not bus.connected
    await asyncio.to_thread(nats_server.start)
    await asyncio.wait_for(connecting, 10)
    assert bus.connected
    (complaint, *more) = [entry for entry in logged if entry["event"] == "bus away"]
    assert f"cannot reach {nats_server.url}" in complaint["detail"]
    assert "NATS_URL" in complaint["detail"]
    assert not more, "repeats are held back"


async def test_closing_ends_a_connect_that_still_waits(nats_server: NatsServer, fleet: Fleet) -> None:
    nats_server.kill()
    bus = fleet.bus(nats_server.url)
    connecting = asyncio.create_task(bus.connect())
    await asyncio.sleep(0.05)
    await bus.close()
    with pytest.raises(BusError, match="closed before it was connected"):
        await asyncio.wait_for(connecting, 5)
    with pytest.raises(BusError, match="closed"):
        await bus.connect()


async def test_the_second_of_two_addresses_is_tried_when_the_first_is_dead(
    nats_server: NatsServer, fleet: Fleet
) -> None:
    bus = fleet.bus(f"nats://127.0.0.1:1,{nats_server.url}")
    await asyncio.wait_for(bus.connect(), 10)
    assert bus.connected


async def test_user_and_password_are_needed_and_never_logged(fleet: Fleet, logged: list[dict[str, Any]]) -> None:
    server = NatsServer('authorization { user: "auralis", password: "a-good-password" }')
    server.start()
    try:
        good = fleet.bus(server.url, user="auralis", password="a-good-password")
        await asyncio.wait_for(good.connect(), 10)
        in_url = fleet.bus(server.url.replace("//", "//auralis:a-good-password@"))
        await asyncio.wait_for(in_url.connect(), 10)
        bad = fleet.bus(server.url.replace("//", "//auralis:a-bad-password@"))
        connecting = asyncio.create_task(bad.connect())
        await until(lambda: any(entry["event"] == "bus away" for entry in logged))
        connecting.cancel()
        complaint = next(entry for entry in logged if entry["event"] == "bus away")
        assert "refused to let us in" in complaint["detail"]
        assert "NATS_PASSWORD" in complaint["detail"]
        assert "password@" not in repr(logged)
        assert "good-password" not in repr(good._settings)
        await asyncio.wait({connecting})
        await bad.close()
    finally:
        for bus in fleet.buses:
            await bus.close()
        server.stop()


async def test_a_token_signs_in(fleet: Fleet) -> None:
    server = NatsServer('authorization { token: "a-good-token" }')
    server.start()
    try:
        bus = fleet.bus(server.url, token="a-good-token")
        await asyncio.wait_for(bus.connect(), 10)
        assert bus.connected
        await bus.close()
    finally:
        server.stop()


async def test_a_credentials_file_signs_in(fleet: Fleet, tmp_path: Path) -> None:
    config, path = credentials(tmp_path)
    server = NatsServer(config)
    server.start()
    try:
        bus = fleet.bus(server.url, credentials_file=str(path))
        await asyncio.wait_for(bus.connect(), 10)
        assert await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
        await bus.close()
    finally:
        server.stop()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_a_server_with_tls_is_checked_against_the_given_certificates(
    fleet: Fleet, tmp_path: Path, logged: list[dict[str, Any]]
) -> None:
    subprocess.run(  # noqa: ASYNC221 - a fixed command that takes milliseconds
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    server = NatsServer(f'tls {{ cert_file: "{tmp_path}/cert.pem", key_file: "{tmp_path}/key.pem" }}')
    server.start()
    try:
        trusting = fleet.bus(server.url.replace("nats://", "tls://"), tls_ca_file=str(tmp_path / "cert.pem"))
        await asyncio.wait_for(trusting.connect(), 10)
        assert trusting.connected
        doubting = fleet.bus(server.url.replace("nats://", "tls://"))
        connecting = asyncio.create_task(doubting.connect())
        await until(lambda: any(entry["event"] == "bus away" for entry in logged))
        assert "NATS_TLS_CA_FILE" in next(entry for entry in logged if entry["event"] == "bus away")["detail"]
        connecting.cancel()
        await asyncio.wait({connecting})
        for bus in (trusting, doubting):
            await bus.close()
    finally:
        server.stop()


# --- streams ---------------------------------------------------------------------------------------------------------


async def test_processes_that_start_together_make_each_stream_once(
    nats_server: NatsServer, fleet: Fleet, admin: Client
) -> None:
    await asyncio.wait_for(asyncio.gather(*(fleet.bus(nats_server.url).connect() for _ in range(8))), 20)
    render = (await api(admin, "STREAM.INFO.RENDER"))["config"]
    audio = (await api(admin, "STREAM.INFO.AUDIO"))["config"]
    names = (
        "subjects", "storage", "retention", "discard", "max_bytes", "max_msgs_per_subject", "discard_new_per_subject",
    )  # fmt: skip
    assert {name: render[name] for name in names} == {
        "subjects": ["auralis.render.>"],
        "storage": "memory",
        "retention": "workqueue",
        "discard": "new",
        "max_bytes": 16 * MIB,
        "max_msgs_per_subject": 1,
        "discard_new_per_subject": True,
    }
    assert render["max_age"] == render["duplicate_window"] == 5_000_000_000
    assert {name: audio[name] for name in ("subjects", "storage", "discard", "max_bytes", "max_msgs_per_subject")} == {
        "subjects": ["auralis.audio.>"],
        "storage": "memory",
        "discard": "old",
        "max_bytes": 1024 * MIB,
        "max_msgs_per_subject": 20,
    }
    assert audio["allow_direct"]


async def test_a_stream_of_another_build_is_changed_to_what_this_one_wants(
    nats_server: NatsServer, fleet: Fleet, admin: Client
) -> None:
    await api(
        admin,
        "STREAM.CREATE.AUDIO",
        {"name": "AUDIO", "subjects": ["auralis.audio.>"], "storage": "memory", "max_msgs_per_subject": 5},
    )
    await asyncio.wait_for(fleet.bus(nats_server.url).connect(), 10)
    assert (await api(admin, "STREAM.INFO.AUDIO"))["config"]["max_msgs_per_subject"] == 20


async def test_a_stream_that_cannot_be_changed_is_named_with_what_to_do(
    nats_server: NatsServer, fleet: Fleet, admin: Client, logged: list[dict[str, Any]]
) -> None:
    await api(admin, "STREAM.CREATE.RENDER", {"name": "RENDER", "subjects": ["auralis.render.>"], "storage": "file"})
    bus = fleet.bus(nats_server.url)
    connecting = asyncio.create_task(bus.connect())
    await until(lambda: any("stream RENDER differs" in entry.get("detail", "") for entry in logged))
    complaint = next(entry for entry in logged if "stream RENDER differs" in entry.get("detail", ""))
    assert "nats stream rm RENDER" in complaint["detail"]
    await api(admin, "STREAM.DELETE.RENDER")
    await asyncio.wait_for(connecting, 10)


async def test_a_server_with_little_memory_gets_a_smaller_history_and_the_log_says_so(
    fleet: Fleet, logged: list[dict[str, Any]]
) -> None:
    server = NatsServer(memory_mb=200)
    server.start()
    try:
        bus = fleet.bus(server.url)
        await asyncio.wait_for(bus.connect(), 10)
        warning = next(entry for entry in logged if entry["event"] == "stream smaller than wanted")
        assert (warning["stream"], warning["wanted_mb"], warning["made_mb"]) == ("AUDIO", 1024, 128)
        # A second process takes it as it is, and does not try to enlarge it again.
        other = fleet.bus(server.url)
        await asyncio.wait_for(other.connect(), 10)
        await other.publish(subjects.audio("s"), BLOCK)
        await stored(bus, subjects.audio("s"), BLOCK)
        for each in (bus, other):
            await each.close()
    finally:
        server.stop()


async def test_a_server_without_jetstream_is_reported_with_what_to_do(
    fleet: Fleet, logged: list[dict[str, Any]]
) -> None:
    # An account without JetStream is to us as a server without it.
    server = NatsServer("accounts { PLAIN { users: [ {user: u, password: a-good-password} ] } }")
    server.start()
    try:
        bus = fleet.bus(server.url, user="u", password="a-good-password")
        connecting = asyncio.create_task(bus.connect())
        await until(lambda: any("JetStream" in entry.get("detail", "") for entry in logged))
        connecting.cancel()
        await asyncio.wait({connecting})
        await bus.close()
    finally:
        server.stop()


async def test_a_close_that_is_cut_short_leaves_nothing_behind(nats_server: NatsServer, fleet: Fleet) -> None:
    for steps in range(1, 16):
        bus = fleet.bus(nats_server.url)
        await bus.connect()
        await bus.subscribe("x", lambda _: None)
        closing = asyncio.create_task(bus.close())
        for _ in range(steps):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing})
    # The fixture looks for tasks, and pytest for sockets that nobody has closed.


# --- losing the server -----------------------------------------------------------------------------------------------


async def test_a_killed_server_is_noticed_at_once_and_a_fetch_just_waits(nats_server: NatsServer, fleet: Fleet) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    source = await bus.jobs("now-r", subjects.render_filter("r", "now"))
    waiting = asyncio.create_task(source.fetch(8, 30.0))
    await asyncio.sleep(0.05)
    nats_server.kill()
    await until(lambda: not bus.connected, 2.0)
    with pytest.raises(BusError, match="away"):
        await bus.publish("x", b"1")
    with pytest.raises(BusError, match="away"):
        await bus.count_failure("b", "k", ttl_s=1)
    with pytest.raises(BusError, match="away"):
        [message async for message in bus.gather("x", b"", wait_s=0.1)]
    assert await bus.history(subjects.audio("s")) == ()
    assert not await source.fetch(8, 0)
    assert not waiting.done()
    await asyncio.to_thread(nats_server.start)
    await until(lambda: bus.connected)
    assert await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
    assert [job.data for job in await asyncio.wait_for(waiting, 5)] == [b"job"]


async def test_the_connection_survives_many_restarts(nats_server: NatsServer, fleet: Fleet) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    heard: list[bytes] = []
    await bus.subscribe("song", lambda message: heard.append(message.data))
    for number in range(4):
        await asyncio.to_thread(nats_server.restart)
        await until(lambda: not bus.connected, 2.0) if bus.connected and number % 2 else None
        async with asyncio.timeout(10):
            while True:
                try:
                    await bus.publish("song", b"%d" % number)
                    await until(lambda number=number: b"%d" % number in heard, 0.5)  # type: ignore[misc]
                    break
                except (BusError, TimeoutError):
                    await asyncio.sleep(0.02)
    assert sorted(set(heard)) == [b"0", b"1", b"2", b"3"]


async def test_a_server_that_hangs_is_given_up_and_taken_up_again(
    nats_server: NatsServer, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nats_module, "PING_INTERVAL_S", 0.15)
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    nats_server.pause()
    try:
        await until(lambda: not bus.connected, 3.0)
    finally:
        nats_server.resume()
    await until(lambda: bus.connected, 10.0)


async def test_a_read_loop_that_ends_by_itself_is_noticed(nats_server: NatsServer, fleet: Fleet) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    reconnected = asyncio.Event()
    bus.on_reconnect(reconnected.set)
    client = bus._client
    assert client is not None
    assert client._reading_task is not None
    client._reading_task.cancel()
    await asyncio.wait_for(reconnected.wait(), 5)
    assert bus._client is not client
    assert await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")


async def test_a_reconnect_callback_that_raises_does_not_stop_the_others(nats_server: NatsServer, fleet: Fleet) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    reconnected = asyncio.Event()

    def bad() -> None:
        raise ValueError("a bad callback")

    bus.on_reconnect(bad)
    bus.on_reconnect(reconnected.set)
    await asyncio.to_thread(nats_server.restart)
    await asyncio.wait_for(reconnected.wait(), 10)
    assert bus.connected
    assert bus._metrics.callback_errors._value.get() == 1


# --- a server that forgets while the connection holds ----------------------------------------------------------------


async def test_streams_that_vanish_behind_a_live_connection_are_made_again(
    nats_server: NatsServer, fleet: Fleet, admin: Client
) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    source = await bus.jobs("now-r", subjects.render_filter("r", "now"))
    assert not await source.fetch(8, 0)
    for name in ("RENDER", "AUDIO"):
        assert (await api(admin, f"STREAM.DELETE.{name}"))["success"]
    with pytest.raises(BusError, match="RENDER is missing"):
        await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
    async with asyncio.timeout(5):
        while True:
            try:
                assert await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
                break
            except BusError:
                await asyncio.sleep(0.02)
    assert [job.data for job in await source.fetch(8, 5.0)] == [b"job"]
    assert (await api(admin, "STREAM.INFO.AUDIO"))["config"]["max_msgs_per_subject"] == 20


async def test_a_consumer_that_vanishes_under_a_waiting_fetch_is_made_again(
    nats_server: NatsServer, fleet: Fleet, admin: Client
) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    source = await bus.jobs("now-r", subjects.render_filter("r", "now"))
    waiting = asyncio.create_task(source.fetch(8, 10.0))
    await asyncio.sleep(0.1)
    assert (await api(admin, "CONSUMER.DELETE.RENDER.now-r"))["success"]
    await asyncio.sleep(0.1)
    assert await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
    assert [job.data for job in await asyncio.wait_for(waiting, 5)] == [b"job"]


async def test_consumers_of_a_revision_that_nobody_runs_vanish_by_themselves(
    nats_server: NatsServer, fleet: Fleet, admin: Client
) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    source = await bus.jobs("now-old", subjects.render_filter("old", "now"), ack_wait_s=1.5)
    await source.fetch(1, 0)
    config = (await api(admin, "CONSUMER.INFO.RENDER.now-old"))["config"]
    assert config["inactive_threshold"] == 60_000_000_000
    assert config["ack_wait"] == 1_500_000_000
    assert config["max_deliver"] == -1
    assert config["max_ack_pending"] >= 1000


# --- bounds ----------------------------------------------------------------------------------------------------------


async def test_audio_that_the_network_does_not_take_is_dropped_and_publishing_never_blocks(
    nats_server: NatsServer, fleet: Fleet
) -> None:
    bus = fleet.bus(nats_server.url, limits=BusLimits(publish_backlog_bytes=2 * MIB))
    await bus.connect()
    nats_server.pause()
    try:
        # Publishing that waited for the network would wait for ever: the server stands still.
        async with asyncio.timeout(20):
            for _ in range(200):
                await bus.publish(subjects.audio("s"), BLOCK)
                await asyncio.sleep(0)
        dropped = sample_value(bus._metrics.dropped, policy="publish_backlog")
        assert bus._client is not None
        assert bus._client.backlog_bytes <= 2 * MIB + 1024
        assert 100 < dropped < 200
        with pytest.raises(BusError, match=r"no answer|slower"):
            await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
    finally:
        nats_server.resume()


async def test_a_message_larger_than_the_server_takes_is_refused_with_both_sizes(
    nats_server: NatsServer, fleet: Fleet
) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    with pytest.raises(BusError, match="1048577 bytes; the server takes 1048576"):
        await bus.publish("x", bytes(MIB + 1))
    assert bus.connected


async def test_a_job_that_arrived_and_was_not_fetched_is_given_back_when_the_worker_closes(
    nats_server: NatsServer, fleet: Fleet
) -> None:
    leaving, staying = fleet.bus(nats_server.url), fleet.bus(nats_server.url)
    await leaving.connect()
    await staying.connect()
    source = await leaving.jobs("now-r", subjects.render_filter("r", "now"), ack_wait_s=30.0)
    fetch = asyncio.create_task(source.fetch(8, 30.0))
    await asyncio.sleep(0.05)
    fetch.cancel()
    await asyncio.wait({fetch})
    # The pull request is still at the server, so the job comes to us although nobody waits for it.
    await staying.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
    await until(lambda: bool(source._arrived))  # type: ignore[attr-defined]
    await leaving.close()
    other = await staying.jobs("now-r", subjects.render_filter("r", "now"), ack_wait_s=30.0)
    (job,) = await other.fetch(8, 2.0)
    assert (job.data, job.deliveries) == (b"job", 2)


async def test_late_jobs_beyond_the_bound_are_given_back_and_counted(nats_server: NatsServer, fleet: Fleet) -> None:
    bus = fleet.bus(nats_server.url, limits=BusLimits(late_jobs=2))
    await bus.connect()
    source = await bus.jobs("now-r", subjects.render_filter("r", "now"), ack_wait_s=30.0)
    fetch = asyncio.create_task(source.fetch(64, 30.0))
    await asyncio.sleep(0.05)
    fetch.cancel()
    await asyncio.wait({fetch})
    # One pull request for 64 jobs waits at the server; 6 jobs are there before anybody fetches again.
    await asyncio.gather(
        *(
            bus.ask(subjects.render("r", "now", "s", number), b"%d" % number, message_id=str(number))
            for number in range(6)
        )
    )
    await asyncio.sleep(0.1)
    assert len(source._arrived) <= 2  # type: ignore[attr-defined]
    seen: set[bytes] = set()
    async with asyncio.timeout(5):
        while len(seen) < 6:
            for job in await source.fetch(64, 1.0):
                seen.add(job.data)
                await job.ack()
    assert seen == {b"%d" % number for number in range(6)}


async def test_a_job_that_waited_longer_than_its_ack_wait_is_not_handed_out_twice(
    nats_server: NatsServer, fleet: Fleet
) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    source = await bus.jobs("now-r", subjects.render_filter("r", "now"), ack_wait_s=0.2)
    fetch = asyncio.create_task(source.fetch(8, 30.0))
    await asyncio.sleep(0.05)
    fetch.cancel()
    await asyncio.wait({fetch})
    await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
    await until(lambda: bool(source._arrived))  # type: ignore[attr-defined]
    await asyncio.sleep(0.3)
    jobs = await source.fetch(8, 2.0)
    assert [(job.data, job.deliveries) for job in jobs] == [(b"job", 2)]
    await jobs[0].ack()
    assert not await source.fetch(8, 0.3)


# --- a bucket with nonsense in it ------------------------------------------------------------------------------------


async def test_a_counter_that_is_no_number_is_an_error_and_reads_as_zero(
    nats_server: NatsServer, fleet: Fleet, admin: Client
) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    await bus.count_failure("b", "k", ttl_s=60)
    await admin.request("$KV.b.k", b"nonsense")
    assert await bus.failures("b", "k") == 0
    with pytest.raises(BusError, match="expected a number"):
        await bus.count_failure("b", "k", ttl_s=60)


async def test_a_key_that_would_be_another_subject_is_refused(nats_server: NatsServer, fleet: Fleet) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    for key in ("", "a b", "a.*", ">", "a..b", ".a"):
        with pytest.raises(ValueError, match="counter key"):
            await bus.count_failure("b", key, ttl_s=60)


async def test_two_hundred_streams_asked_in_one_burst_are_delivered_within_a_second(
    nats_server: NatsServer, fleet: Fleet
) -> None:
    edge, worker = fleet.bus(nats_server.url), fleet.bus(nats_server.url)
    await edge.connect()
    await worker.connect()
    revision = fresh("r")
    source = await worker.jobs(f"now-{revision}", subjects.render_filter(revision, "now"))
    heard: set[str] = set()
    await edge.subscribe("auralis.audio.*", lambda message: heard.add(message.subject))
    names = [f"s{number}" for number in range(200)]

    async def work() -> None:
        while len(heard) < len(names):
            for job in await source.fetch(64, 0.2):
                await worker.publish(subjects.audio(job.data.decode()), BLOCK)
                await job.ack()
            await asyncio.sleep(0)

    working = asyncio.create_task(work())
    async with asyncio.timeout(10):  # a second where the machine is idle
        taken = await asyncio.gather(
            *(
                edge.ask(subjects.render(revision, "now", name, 7), name.encode(), message_id=f"{revision}.{name}")
                for name in names
            )
        )
        await working
    assert all(taken)
    assert len(heard) == 200
