from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.runtime.health import Health
from services.runtime.http.internal import InternalApp, InternalServer, PortInUseError
from services.runtime.http.ports import internal_hosts
from services.runtime.metrics import PrometheusMetrics
from services.runtime.settings import Settings
from tests.support.waiting import until


class Service:
    """A service with an internal port, and what its drain saw."""

    def __init__(self) -> None:
        self.health = Health()
        self.metrics = PrometheusMetrics()
        self.drains = 0
        self.drained = asyncio.Event()
        self.server = InternalServer(
            "127.0.0.1", 0, health=self.health, exposition=self.metrics.exposition, drain=self.drain
        )

    async def drain(self) -> None:
        self.drains += 1
        self.health.set("accepting", ok=False, detail="draining")
        await self.drained.wait()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    await service.server.start()
    yield service
    service.drained.set()
    await service.server.stop()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{service.server.port}", trust_env=False) as client:
        yield client


async def test_metrics_are_prometheus_text(service: Service, client: httpx.AsyncClient) -> None:
    service.metrics.active_websocket_connections.set(4)
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "active_websocket_connections 4.0" in answer.text


async def test_alive_is_whoever_answers(client: httpx.AsyncClient) -> None:
    answer = await client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"alive": True})


async def test_readyz_is_503_with_the_failing_conditions_until_all_hold(
    service: Service, client: httpx.AsyncClient
) -> None:
    service.health.set("bus", ok=False, detail="connecting")
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["failing"] == ["bus"]
    assert answer.json()["conditions"]["bus"] == {"ok": False, "detail": "connecting"}
    service.health.set("bus", ok=True)
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)


@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://elsewhere.example"}],
)
async def test_a_page_from_elsewhere_cannot_drain(
    service: Service, client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    for method in ("GET", "POST"):
        assert (await client.request(method, "/drain?wait=false", headers=headers)).status_code == 403
    assert service.drains == 0
    # Typed into the address bar.
    assert (await client.get("/drain?wait=false", headers={"sec-fetch-site": "none"})).status_code == 202


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_drain_answers_when_the_drain_is_done(service: Service, client: httpx.AsyncClient, method: str) -> None:
    request = asyncio.create_task(client.request(method, "/drain"))
    await until(lambda: service.drains)
    assert (await client.get("/readyz")).status_code == 503
    assert not request.done()
    service.drained.set()
    answer = await request
    assert (answer.status_code, answer.json()) == (200, {"draining": True, "done": True})


async def drain_of(app: InternalApp, method: str, client: tuple[str, int] | None, *headers: tuple[bytes, bytes]) -> int:
    """The status of a drain that comes from `client`."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": "/drain", "query_string": b"wait=false", "client": client,
        "headers": [(b"host", b"10.0.0.7:9090"), *headers],
    }  # fmt: skip
    await app(scope, receive, send)
    status: int = sent[0]["status"]
    return status


async def test_a_get_drains_only_from_this_machine_or_with_the_header_of_a_hook() -> None:
    async def drain() -> None:
        pass

    app = InternalApp(health=Health(), exposition=None, drain=drain)
    elsewhere = ("10.0.0.9", 50000)
    for client in (elsewhere, None):
        assert await drain_of(app, "GET", client) == 405
        assert await drain_of(app, "POST", client) == 202
        assert await drain_of(app, "GET", client, (b"auralis-drain", b"pre-stop")) == 202
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert await drain_of(app, "GET", (address, 50000)) == 202
    # The header does not let a page in.
    assert await drain_of(app, "GET", elsewhere, (b"auralis-drain", b"1"), (b"origin", b"http://rebind.example")) == 403


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "DELETE"])
@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/drain", "/", "/api/fleet"])
async def test_a_name_of_a_stranger_gets_421_and_drains_nothing(
    service: Service, client: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(method, path, headers={"host": "rebind.example:9090"})
    assert answer.status_code == 421
    assert service.drains == 0
    if method != "HEAD":
        assert "AURALIS_INTERNAL_HOSTS" in answer.text


async def test_names_of_the_setting_and_of_this_host_are_answered() -> None:
    hosts = internal_hosts(Settings(internal_hosts=("auralis-telemetry.music.svc",), internal_host="0.0.0.0"))  # noqa: S104 - nothing listens
    for name in ("auralis-telemetry.music.svc:9090", socket.gethostname(), "localhost:9090", "10.1.2.3:9090"):
        assert name in hosts
    assert "auralis-telemetry.music.svc.rebind.example" not in hosts


async def test_drain_is_done_once_however_often_it_is_asked_for(service: Service, client: httpx.AsyncClient) -> None:
    answer = await client.post("/drain?wait=false")
    assert (answer.status_code, answer.json()) == (202, {"draining": True, "done": False})
    service.drained.set()
    answers = await asyncio.gather(*(client.request(method, "/drain") for method in ("GET", "POST", "GET")))
    assert [answer.json()["done"] for answer in answers] == [True] * 3
    assert (await client.get("/drain?wait=false")).json() == {"draining": True, "done": True}
    assert service.drains == 1


async def test_a_caller_that_hangs_up_does_not_stop_the_drain(service: Service, client: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.ReadTimeout):
        await client.post("/drain", timeout=0.1)
    service.drained.set()
    assert (await client.get("/drain")).json()["done"]
    assert service.drains == 1


async def test_a_head_request_never_drains(service: Service, client: httpx.AsyncClient) -> None:
    assert (await client.head("/drain")).status_code == 200
    assert service.drains == 0


async def test_a_drain_that_fails_says_why(client: httpx.AsyncClient, service: Service) -> None:
    async def broken() -> None:
        raise RuntimeError("the listeners would not leave")

    server = InternalServer("127.0.0.1", 0, health=service.health, exposition=None, drain=broken)
    await server.start()
    answer = await client.get(f"http://127.0.0.1:{server.port}/drain")
    assert answer.status_code == 500
    assert answer.json() == {"draining": True, "done": False, "error": "the listeners would not leave"}
    await server.stop()


async def test_other_paths_and_methods_are_refused_with_a_sentence(client: httpx.AsyncClient) -> None:
    answer = await client.get("/")
    assert answer.status_code == 404
    assert "/metrics /healthz /readyz /drain" in answer.text
    answer = await client.delete("/metrics")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert (await client.put("/drain")).headers["allow"] == "GET, HEAD, POST"


async def test_an_exposition_that_fails_is_a_500_and_the_service_lives_on(client: httpx.AsyncClient) -> None:
    def broken() -> bytes:
        raise ZeroDivisionError

    async def drain() -> None:
        pass

    server = InternalServer("127.0.0.1", 0, health=Health(), exposition=broken, drain=drain)
    await server.start()
    assert (await client.get(f"http://127.0.0.1:{server.port}/metrics")).status_code == 500
    assert (await client.get(f"http://127.0.0.1:{server.port}/healthz")).status_code == 200
    await server.stop()


async def test_metrics_that_are_switched_off_say_so(client: httpx.AsyncClient, service: Service) -> None:
    server = InternalServer("127.0.0.1", 0, health=service.health, exposition=None, drain=service.drain)
    await server.start()
    answer = await client.get(f"http://127.0.0.1:{server.port}/metrics")
    assert answer.status_code == 404
    assert "METRICS_ENABLED=false" in answer.text
    await server.stop()


async def test_a_fallback_takes_every_other_path() -> None:
    seen: list[str] = []

    async def fallback(scope: Any, _receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"mine"})

    async def drain() -> None:
        pass

    health = Health()
    health.set("bus", ok=True)
    app = InternalApp(health=health, exposition=None, drain=drain, fallback=fallback)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        assert (await client.get("/api/fleet")).text == "mine"
        assert (await client.get("/readyz")).json()["ready"]
    assert seen == ["/api/fleet"]


async def test_a_taken_port_is_an_error_before_anything_is_said(service: Service) -> None:
    second = InternalServer(
        "127.0.0.1", service.server.port, health=service.health, exposition=None, drain=service.drain
    )
    with pytest.raises(PortInUseError, match="METRICS_PORT"):
        await second.start()
    await second.stop()
