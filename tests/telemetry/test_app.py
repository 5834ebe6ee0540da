import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.edge.metrics import EdgeMetrics
from services.runtime.bus.memory import MemoryBroker, MemoryBus
from services.runtime.http.server import EmbeddedServer, bind_socket
from services.runtime.metrics import PrometheusMetrics
from services.runtime.process.scrape_answers import answer_scrapes
from services.runtime.settings import Settings
from services.telemetry import app, events, scrape
from services.telemetry.app import create_app
from services.telemetry.fleet.fleet import Fleet
from services.telemetry.scrape import Scraper
from services.telemetry.service import TelemetryService
from tests.support.waiting import until

SETTINGS = Settings(instance="t1")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "WAIT_S", 0.1)


@asynccontextmanager
async def telemetry(
    broker: MemoryBroker | None = None, settings: Settings = SETTINGS
) -> AsyncIterator[tuple[httpx.AsyncClient, TelemetryService]]:
    service = TelemetryService(settings, bus=MemoryBus(broker or MemoryBroker()))
    await service.start()
    # The bus connects in the background.
    await asyncio.sleep(0)
    transport = httpx.ASGITransport(create_app(service))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            yield http, service
    finally:
        await service.stop()


async def instance(broker: MemoryBroker, service: str, name: str) -> PrometheusMetrics:
    metrics = PrometheusMetrics()
    metrics.describe_process(service=service)
    bus = MemoryBus(broker)
    await bus.connect()
    await answer_scrapes(bus, service=service, instance=name, exposition=metrics.exposition)
    return metrics


async def test_metrics_are_those_of_all_instances_with_labels() -> None:
    broker = MemoryBroker()
    renderer = await instance(broker, "synthesis", "s1")
    renderer.synthesis_latency_seconds.observe(0.05)
    edge = await instance(broker, "edge", "e1")
    edge.buffer_depth_chunks.labels(client_id="client_0").set(10)
    _ = edge.buffer_underruns_total, edge.active_websocket_connections
    edge.chunk_delivery_jitter_ms.observe(3)
    async with telemetry(broker) as (http, _):
        response = await http.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    for name in (
        "synthesis_latency_seconds", "buffer_depth_chunks", "chunk_delivery_jitter_ms", "buffer_underruns_total",
        "active_websocket_connections",
    ):  # fmt: skip
        assert name in response.text
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    owners = {(each.labels["service"], each.labels["instance"]) for each in families["memory_usage_mb"].samples}
    assert owners == {("synthesis", "s1"), ("edge", "e1"), ("telemetry", "t1")}
    (depth,) = families["buffer_depth_chunks"].samples
    assert depth.labels == {"service": "edge", "instance": "e1", "client_id": "client_0"}
    builds = families["auralis_build_info"].samples
    assert not any("exported_service" in each.labels for each in builds)


async def test_scope_self_gives_telemetrys_own_metrics() -> None:
    broker = MemoryBroker()
    await instance(broker, "edge", "e1")
    async with telemetry(broker) as (http, _):
        response = await http.get("/metrics", params={"scope": "self"})
        wrong = await http.get("/metrics", params={"scope": "all"})
    assert "auralis_gather_seconds" in response.text
    assert "instance=" not in response.text
    assert wrong.status_code == 400


async def test_requests_within_a_second_share_one_merge(monkeypatch: pytest.MonkeyPatch) -> None:
    merges = 0
    merged = Fleet.merged

    def counted(fleet: Fleet, now_s: float) -> bytes:
        nonlocal merges
        merges += 1
        return merged(fleet, now_s)

    monkeypatch.setattr(Fleet, "merged", counted)
    async with telemetry() as (http, _):
        bodies = {(await http.get("/metrics")).text for _ in range(10)}
        assert len(bodies) == merges <= 2
        monkeypatch.setattr(Scraper.refresh, "__kwdefaults__", {"max_age_s": 0.0})
        before = merges
        await http.get("/metrics")
        assert merges == before + 1


async def test_metrics_can_be_switched_off() -> None:
    async with telemetry(settings=replace(SETTINGS, metrics_enabled=False)) as (http, _):
        response = await http.get("/metrics")
        fleet = await http.get("/api/fleet")
    assert response.status_code == 404
    assert "METRICS_ENABLED" in response.text
    assert fleet.status_code == 200


async def test_the_fleet_is_json_with_a_documented_schema() -> None:
    broker = MemoryBroker()
    await instance(broker, "edge", "e1")
    async with telemetry(broker) as (http, _):
        fleet = (await http.get("/api/fleet")).json()
        schema = (await http.get("/api/schema/openapi.json")).json()
    assert fleet["bus_connected"] is True
    assert fleet["totals"]["instances_up"] == 2
    assert [row["instance"] for row in fleet["instances"]] == ["e1", "t1"]
    body = schema["paths"]["/api/fleet"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    name = body["$ref"].rpartition("/")[2]
    documented = schema["components"]["schemas"]
    assert set(documented[name]["properties"]) == set(fleet)
    row = documented[name]["properties"]["instances"]["items"]["$ref"].rpartition("/")[2]
    assert set(documented[row]["properties"]) == set(fleet["instances"][0])


async def test_every_answer_has_a_documented_schema() -> None:
    async with telemetry() as (http, service):
        await until(lambda: service.history().points)
        schema = (await http.get("/api/schema/openapi.json")).json()
        for path in ("/api/fleet", "/api/history", "/api/alerts"):
            answer = await http.get(path)
            assert answer.headers["cache-control"] == "no-store"
            body = schema["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            documented = schema["components"]["schemas"][body["$ref"].rpartition("/")[2]]
            assert set(documented["properties"]) == set(answer.json()), path
        assert "503" in schema["paths"]["/api/autoscale"]["get"]["responses"]


async def test_an_autoscaler_gets_the_demand_or_503_while_it_is_unknown() -> None:
    broker = MemoryBroker()
    async with telemetry(broker) as (http, _):
        unknown = await http.get("/api/autoscale")
        assert unknown.status_code == 503
        assert "no edge answers" in unknown.text
        edge = EdgeMetrics(await instance(broker, "edge", "e1"))
        edge.listeners.set(70)
        edge.demand.set(30)

        async def demand() -> httpx.Response | None:
            answer = await http.get("/api/autoscale?assumed_streams=20")
            return answer if answer.status_code == 200 else None

        found = await until(demand, 10, every_s=0.1)
        assert found.json()["edge"]["listeners"] == 70
        assert found.json()["synthesis"]["load_workers"] == 1.5
        assert (await http.get("/api/autoscale?assumed_streams=0")).status_code == 400


async def test_a_viewer_gets_the_fleet_as_events_until_a_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.telemetry.service.EVERY_S", 0.05)
    monkeypatch.setattr("services.telemetry.service._WATCHED_EVERY_S", 0.05)
    broker = MemoryBroker()
    await instance(broker, "edge", "e1")
    # httpx's ASGI transport collects the whole answer first: events need a real connection.
    bound = bind_socket("127.0.0.1", 0)
    service = TelemetryService(SETTINGS, bus=MemoryBus(broker))
    server = EmbeddedServer(create_app(service), bound, lifespan="off")
    await service.start()
    await server.start()
    try:
        received = []
        async with (
            asyncio.timeout(20),
            httpx.AsyncClient() as http,
            http.stream("GET", f"http://127.0.0.1:{server.port}/api/events") as answer,
        ):
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    received.append(json.loads(line.removeprefix("data:")))
                if len(received) == 3:
                    assert service.feed.viewers == 1
                    await service.drain()
        assert set(received[-1]) == {"fleet", "point", "alerts"}
        assert received[-1]["fleet"]["totals"]["instances_up"] == 2
        assert service.feed.viewers == 0
    finally:
        await server.stop()
        await service.stop()


async def test_a_viewer_that_reads_no_events_is_disconnected_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app, "STALLED_S", 0.2)
    service = TelemetryService(SETTINGS, bus=MemoryBus(MemoryBroker()))
    server = EmbeddedServer(create_app(service), bind_socket("127.0.0.1", 0), lifespan="off")
    await server.start()
    # The viewer's socket holds a part of one event.
    with socket.socket() as page:
        page.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        page.connect(("127.0.0.1", server.port))
        page.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:

            def publish_to_viewer() -> bool:
                service.feed.publish("x" * 500_000)
                return service.feed.viewers == 0

            await until(lambda: service.feed.viewers == 1, 20)
            await until(publish_to_viewer, 20)
        finally:
            service.feed.close()
            page.close()
            await server.stop()
            await service.stop()
    assert [record for record in caplog.records if record.exc_info] == []


async def test_one_viewer_too_many_is_refused_with_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_VIEWERS", 0)
    async with telemetry() as (http, service):
        answer = await http.get("/api/events")
        assert answer.status_code == 503
        assert "0 viewers watch already" in answer.text
        assert service.feed.viewers == 0


async def test_a_page_that_is_closed_is_no_viewer_any_more() -> None:
    service = TelemetryService(SETTINGS, bus=MemoryBus(MemoryBroker()))
    server = EmbeddedServer(create_app(service), bind_socket("127.0.0.1", 0), lifespan="off")
    await server.start()
    try:
        async with asyncio.timeout(20), httpx.AsyncClient() as http:
            async with http.stream("GET", f"http://127.0.0.1:{server.port}/api/events"):
                assert service.feed.viewers == 1
            await until(lambda: service.feed.viewers == 0)
    finally:
        await server.stop()
        await service.stop()


async def test_without_a_bus_telemetry_answers_and_is_not_ready() -> None:
    broker = MemoryBroker()
    broker.go_away()
    async with telemetry(broker) as (http, _):
        ready = await http.get("/readyz")
        assert ready.status_code == 503
        assert "bus" in ready.json()["failing"]
        assert (await http.get("/healthz")).status_code == 200
        metrics = await http.get("/metrics")
        fleet = (await http.get("/api/fleet")).json()
    assert 'memory_usage_mb{service="telemetry",instance="t1"}' in metrics.text
    assert fleet["bus_connected"] is False
    assert [row["instance"] for row in fleet["instances"]] == ["t1"]


async def test_readiness_names_an_instance_whose_clock_differs_and_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.process.service_process.BUS_WATCH_S", 0.001)
    # The bus has the right time, as telemetry has.
    monkeypatch.setattr(MemoryBus, "unix_s", lambda _: time.time())
    broker = MemoryBroker()
    async with telemetry(broker) as (http, service):
        for name, ahead_s in (("e1", 0.0), ("e2", 120.0)):
            bus = MemoryBus(broker)
            await bus.connect()
            exposition = f"# TYPE auralis_clock_seconds gauge\nauralis_clock_seconds {time.time() + ahead_s}\n".encode()
            await answer_scrapes(bus, service="edge", instance=name, exposition=lambda body=exposition: body)  # type: ignore[misc]
        await service._scraper.refresh(max_age_s=0)
        service._publish()
        await asyncio.sleep(0.05)  # many looks at the bus
        ready = (await http.get("/readyz")).json()
        assert "e2 is 1" in ready["conditions"]["clocks"]["detail"]
        assert ready["conditions"]["clocks"]["ok"]
        assert 'fleet_instance="e2",fleet_service="edge"} 1' in (await http.get("/metrics?scope=self")).text


async def test_a_drain_ends_readiness_and_may_be_repeated() -> None:
    async with telemetry() as (http, service):
        service.health.set("bus", ok=True)
        assert (await http.get("/readyz")).status_code == 200
        assert (await http.post("/drain")).status_code == 200
        assert (await http.get("/drain")).status_code == 200
        assert (await http.get("/readyz")).json()["failing"] == ["accepting"]


async def test_the_dashboard_loads_nothing_from_other_origins() -> None:
    async with telemetry() as (http, _):
        page = await http.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "http://" not in page.text
        assert "https://" not in page.text
        assert (await http.get("/dashboard.css")).headers["content-type"] == "text/css; charset=utf-8"
        script = await http.get("/dashboard.js")
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        # Names of instances come from the network.
        assert "innerHTML" not in script.text
        assert (await http.get("/nothing")).status_code == 404
