"""Metrics and the internal port of a running edge."""

from __future__ import annotations

import httpx
import pytest

from services.runtime.settings import Settings
from tests.edge.playing import (
    Fleet,
    closed,
    connect,
    hear_audio,
    playing,
    say,
)
from tests.edge.support import running_edge
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_internal_port_has_the_metrics_and_the_drain() -> None:
    async with playing() as (edge, _, _), connect(edge) as ws:
        await say(ws, "start")
        await hear_audio(ws, 12)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{edge.service.internal_port}") as http:
            await until(
                lambda: edge.service.metrics.registry.get_sample_value("buffer_depth_chunks", {"client_id": "client_0"})
            )
            text = (await http.get("/metrics")).text
            for name in (
                "buffer_depth_chunks", "chunk_delivery_jitter_ms", "active_websocket_connections",
                "buffer_underruns_total", "websocket_send_errors_total", "chunk_encoding_duration_seconds",
                "memory_usage_mb", "gc_collections_total", "auralis_listeners", "auralis_tick_lateness_seconds",
                "auralis_render_demand_streams", "auralis_loudness_min_dbfs",
            ):  # fmt: skip
                assert f"# TYPE {name.removesuffix('_total')}" in text, name
            assert (await http.get("/readyz")).status_code == 200
            assert (await http.post("/drain")).json()["done"] is True
            assert (await http.get("/readyz")).status_code == 503
        assert (await closed(ws))[0] == 1012


async def test_the_series_of_a_listener_ends_with_it(fleet: Fleet) -> None:
    hub, registry = fleet.edge.service.hub, fleet.edge.service.metrics.registry

    def depth() -> float | None:
        return registry.get_sample_value("buffer_depth_chunks", {"client_id": "client_0"})

    await until(lambda: not hub.connections)
    async with connect(fleet.edge) as ws:
        await say(ws, "start")
        await hear_audio(ws, 12)
        await until(lambda: depth() is not None)
    await until(lambda: not hub.connections)
    assert depth() is None
    async with connect(fleet.edge):
        await until(lambda: hub.connections)
        assert next(iter(hub.connections)).number == 0


async def test_a_second_edge_with_the_same_internal_port_starts_without_one() -> None:
    async with playing() as (edge, _, broker):
        settings = Settings(port=0, metrics_port=edge.service.internal_port or 0)
        async with running_edge(broker, settings=settings) as other, connect(other) as ws:
            assert other.service.internal_port is None
            await until(lambda: other.service.hub.status()["renderers"] == 1)
            await say(ws, "start")
            assert len(await hear_audio(ws, 2)) == 2
