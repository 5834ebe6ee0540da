"""What a stolen credential can do on the bus: attacks on a real server with the chart's configuration."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.contract import subjects
from services.contract.presence import Presence
from services.runtime.bus.limits import BusLimits
from services.runtime.bus.nats import NatsBus, stream_configs
from services.runtime.metrics import BusMetrics
from services.runtime.process.scrape_answers import answer_scrapes
from services.runtime.settings import NatsSettings
from tests.charts.test_nats import REVISION, STREAM, USERS, config, signed_in
from tests.support.nats import NatsServer, connected
from tests.support.waiting import until

STREAMS: Mapping[str, dict[str, Any]] = {
    "RENDER": stream_configs.render_stream(BusLimits()),
    "AUDIO": stream_configs.audio_stream(BusLimits()),
}
FORGED = Presence("impostor", "s9-0000000000", 9, "ready", 1e6, "compiled", "cpu").encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NatsServer]:
    """A server with the accounts of the chart."""
    text = config()
    for user in USERS:
        monkeypatch.setenv(f"{user.upper()}_PASSWORD", f"a{user}Password0123456789")
    server = NatsServer(text[text.index("accounts {") :], memory_mb=1280)
    server.start()
    yield server
    server.stop()


@dataclass
class Attacker:
    """A client with the credential of a service, which says on the bus what it likes.

    Attributes:
        refused: what the server refused.
        heard: messages of its subscriptions.
    """

    client: Client
    refused: list[str] = field(default_factory=list)
    heard: list[tuple[str, bytes]] = field(default_factory=list)

    async def call(self, operation: str, body: object = None) -> dict[str, Any]:
        """A call of JetStream's API."""
        data = b"" if body is None else json.dumps(body).encode()
        message = await self.client.request(f"$JS.API.{operation}", data, timeout=1.0)
        answer: dict[str, Any] = json.loads(message.data)
        return answer

    async def tell(self, subject: str, data: bytes = b"", reply: str = "") -> None:
        await self.client.publish(subject, data, reply=reply)

    async def done(self) -> None:
        """Return when the server has handled all of it."""
        await self.client.flush()

    async def listen(self, subject: str, act: Callable[[Msg], Any] | None = None) -> None:
        async def arrived(message: Msg) -> None:
            self.heard.append((message.subject, message.data))
            if act is not None:
                await act(message)

        await self.client.subscribe(subject, cb=arrived)
        await self.client.flush()


@asynccontextmanager
async def stolen(server: NatsServer, user: str) -> AsyncIterator[Attacker]:
    attacker = Attacker(Client())

    async def refused(error: Exception) -> None:
        attacker.refused.append(str(error))

    await attacker.client.connect(
        server.url, user=user, password=f"a{user}Password0123456789", error_cb=refused,
        inbox_prefix=f"_INBOX.{user}.attacker", allow_reconnect=False,
    )  # fmt: skip
    try:
        yield attacker
    finally:
        await attacker.client.close()


async def configuration(bus: NatsBus, stream: str) -> dict[str, Any]:
    found: dict[str, Any] = (await bus._jetstream.api(f"STREAM.INFO.{stream}", {}))["config"]
    return found


@pytest.mark.parametrize("user", ["edge", "telemetry"])
@pytest.mark.parametrize("verb", ["UPDATE", "CREATE"])
@pytest.mark.parametrize(
    ("stream", "change"),
    [
        ("RENDER", {"republish": {"src": "auralis.render.>", "dest": f"auralis.audio.{STREAM}"}}),
        ("RENDER", {"republish": {"src": "auralis.render.>", "dest": subjects.PRESENCE}}),
        ("RENDER", {"sealed": True}),
        ("AUDIO", {"sealed": True}),
        ("AUDIO", {"subjects": ["auralis.audio.>", "auralis.scrape"]}),
    ],
)
async def test_a_stolen_credential_cannot_change_a_stream(
    server: NatsServer, user: str, verb: str, stream: str, change: dict[str, Any]
) -> None:
    async with signed_in(server, "synthesis") as worker, stolen(server, user) as attacker:
        before = await configuration(worker, stream)
        await attacker.tell(f"$JS.API.STREAM.{verb}.{stream}", json.dumps({**STREAMS[stream], **change}).encode())
        await until(lambda: attacker.refused)
        assert await configuration(worker, stream) == before
        assert "permissions violation" in attacker.refused[0]


REQUESTS = (
    ("$JS.API.DIRECT.GET.AUDIO", {"last_by_subj": "auralis.audio.nothing"}),
    ("$JS.API.DIRECT.GET.AUDIO", {"last_by_subj": subjects.audio(STREAM)}),
    ("$JS.API.DIRECT.GET.KV_auralis-poison", {"last_by_subj": "$KV.auralis-poison.x"}),
    ("$JS.API.STREAM.INFO.AUDIO", None),
    (subjects.render(REVISION, "now", STREAM, 8), None),
)
"""What an edge may ask; JetStream sends its answer to any subject that the edge names."""


@pytest.mark.parametrize(
    "target",
    [
        "$JS.API.STREAM.DELETE.AUDIO", "$JS.API.STREAM.DELETE.RENDER", "$JS.API.STREAM.PURGE.AUDIO",
        "$JS.API.STREAM.PURGE.RENDER", "$JS.API.CONSUMER.DELETE.RENDER.now-r-1", "$JS.ACK.RENDER.now-r-1.1.1.1.1.0",
    ],
)  # fmt: skip
async def test_an_answer_to_an_edge_is_no_request(server: NatsServer, target: str) -> None:
    async with signed_in(server, "synthesis") as worker, stolen(server, "edge") as attacker:
        source = await worker.jobs(subjects.render_consumer(REVISION, "now"), subjects.render_filter(REVISION, "now"))
        await source.fetch(1, 0)
        await worker.publish(subjects.audio(STREAM), bytes(10))
        assert json.loads((await attacker.client.request(subjects.render(REVISION, "now", STREAM, 7), b"job")).data)
        for subject, body in REQUESTS:
            await attacker.tell(subject, b"" if body is None else json.dumps(body).encode(), target)
        await attacker.done()
        # The attacks have been handled: the same connection's next request is answered after them.
        for stream, least in (("AUDIO", 1), ("RENDER", 1)):
            answer = await attacker.call(f"STREAM.INFO.{stream}")
            assert answer["state"]["messages"] >= least, f"{stream} after answers to {target}"
            assert answer["state"]["first_seq"] == 1
            assert answer["state"]["consumer_count"] == (stream == "RENDER")


@pytest.mark.parametrize("user", ["edge", "telemetry"])
async def test_presence_and_audio_cannot_be_forged(server: NatsServer, user: str) -> None:
    """By publishing, by answering a request of one's own, and by the answers of JetStream and of services."""
    targets = (subjects.PRESENCE, subjects.audio(STREAM))
    heard: list[tuple[str, bytes]] = []
    async with (
        signed_in(server, "synthesis") as worker,
        signed_in(server, "edge") as edge,
        stolen(server, user) as attacker,
    ):
        for target in targets:
            await edge.subscribe(target, lambda message: heard.append((message.subject, message.data)))
        await worker.publish(subjects.audio(STREAM), b"a block")
        await until(lambda: heard)

        async def answer(message: Msg) -> None:
            await attacker.tell(message.reply, FORGED)

        mine = f"{subjects.inboxes(user)}.mine.1"
        await attacker.listen(mine, answer)
        for target in targets:
            await attacker.tell(target, FORGED)
            await attacker.tell(mine, FORGED, target)
            await attacker.tell(subjects.SCRAPE, FORGED, target)
            for subject, body in REQUESTS:
                await attacker.tell(subject, FORGED if body is None else json.dumps(body).encode(), target)
        await attacker.done()
        await until(lambda: len(attacker.refused) >= 2)
        await worker.publish(subjects.PRESENCE, b"the end")
        await until(lambda: (subjects.PRESENCE, b"the end") in heard)
    forged = [message for message in heard if FORGED in message[1]]
    assert forged == []


@pytest.mark.parametrize("user", USERS)
async def test_no_service_answers_in_place_of_the_server(server: NatsServer, user: str) -> None:
    """With one inbox for all edges, an edge sends another one the blocks of its own choice as history."""
    async with signed_in(server, "synthesis"), signed_in(server, "edge") as edge, stolen(server, user) as attacker:
        asked = f"{edge._messaging._inbox}.1"
        await attacker.tell(asked, b"forged")
        await until(lambda: attacker.refused)
        assert "permissions violation for publish" in attacker.refused[0]


async def test_a_service_answers_no_scrape_that_names_another_subject_for_the_answer(server: NatsServer) -> None:
    heard: list[bytes] = []
    async with (
        signed_in(server, "synthesis") as worker,
        signed_in(server, "edge") as edge,
        signed_in(server, "telemetry") as telemetry,
    ):
        await edge.subscribe(subjects.PRESENCE, lambda message: heard.append(message.data))
        await answer_scrapes(worker, service="synthesis", instance="one", exposition=lambda: b"figures")
        await telemetry.publish(subjects.SCRAPE, b"", subjects.PRESENCE)
        answers = [message.data async for message in telemetry.gather(subjects.SCRAPE, b"", wait_s=1.0)]
        assert len(answers) == 1
        assert heard == []


# --- what an administrator, or a rogue worker, has changed -----------------------------------------


CHANGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("RENDER", {"republish": {"src": "auralis.render.>", "dest": "auralis.audio.>"}}),
    ("RENDER", {"sealed": True}),
    ("RENDER", {"max_msgs": 3}),
    ("RENDER", {"allow_direct": True}),
    ("AUDIO", {"sealed": True}),
    ("AUDIO", {"republish": {"src": "auralis.audio.>", "dest": "elsewhere.>"}}),
    ("AUDIO", {"subject_transform": {"src": "auralis.audio.>", "dest": "elsewhere.>"}}),
    ("AUDIO", {"sources": [{"name": "RENDER"}]}),
    ("AUDIO", {"max_msg_size": 10}),
    ("AUDIO", {"deny_purge": True}),
    ("AUDIO", {"deny_delete": True}),
    ("AUDIO", {"compression": "s2"}),
    ("AUDIO", {"no_ack": True}),
)


@pytest.fixture
def open_server() -> Iterator[NatsServer]:
    server = NatsServer()
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize(("stream", "change"), CHANGES, ids=lambda value: str(value)[:40])
async def test_a_changed_stream_is_named_by_all_and_mended_by_a_worker(
    open_server: NatsServer, stream: str, change: dict[str, Any]
) -> None:
    settings = NatsSettings(url=open_server.url)
    watching = NatsBus(settings, name="edge", keeps_streams=False)
    metrics = BusMetrics()
    keeping = NatsBus(settings, name="worker", metrics=metrics)
    (field_name,) = change
    async with connected(open_server.url) as administrator, asyncio.timeout(30):

        async def call(operation: str, body: object = None) -> dict[str, Any]:
            data = b"" if body is None else json.dumps(body).encode()
            answer: dict[str, Any] = json.loads((await administrator.request(f"$JS.API.{operation}", data)).data)
            assert "error" not in answer, answer
            return answer

        try:
            for name, wanted in STREAMS.items():
                # A sealed stream cannot be made; a transforming one can only be made.
                later = name != stream or "sealed" in change
                await call(f"STREAM.CREATE.{name}", wanted if later else {**wanted, **change})
            if "sealed" in change:
                await call(f"STREAM.UPDATE.{stream}", {**STREAMS[stream], **change})
            await watching.connect()
            assert list(watching.stream_faults) == [stream]
            assert field_name in watching.stream_faults[stream]
            assert watching._jetstream._metrics.stream_differs.labels(stream=stream)._value.get() == 1
            await keeping.connect()
            assert keeping.stream_faults == {}
            found = (await call(f"STREAM.INFO.{stream}"))["config"]
            assert stream_configs.differing_fields(found, STREAMS[stream]) == []
            assert metrics.streams_mended._value.get() == 1
            watching._connection.check_now()
            await until(lambda: not watching.stream_faults)
        finally:
            await watching.close()
            await keeping.close()
