"""Renderers of different revisions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.contract import subjects
from services.runtime.bus.memory import MemoryBus
from tests.edge.playing import (
    connect,
    hear_audio,
    playing,
    rendered,
    renderer,
    say,
    unbroken,
)
from tests.edge.support import SPEC, presence
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_rolling_upgrade_is_one_crossfade(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.edge.stream.demand.LEAD_S", 3.5)
    async with playing() as (edge, _, broker), connect(edge) as ws:
        await say(ws, "start")
        heard = await hear_audio(ws, 12)
        async with renderer(broker, revision="r2", sound_version=2) as new:
            # Enough capacity that every stream moves.
            new.presence = replace(new.presence, capacity_streams=1e9)
            heard += await hear_audio(ws, 50)
        assert unbroken(heard)
        kinds = "".join(
            "1"
            if m["pcm"] == rendered(m["chunk_id"])
            else "2"
            if m["pcm"] == rendered(m["chunk_id"], SPEC, "r2")
            else "x"
            for m in heard
        )
        assert kinds.strip("12") == "x", kinds
        assert kinds.startswith("1")
        assert kinds.endswith("2")
        assert heard[kinds.index("x")]["chunk_id"] % 10 == 0


async def test_a_revision_that_never_renders_is_never_heard() -> None:
    async with (
        playing() as (edge, _, broker),
        connect(edge) as ws,
        renderer(broker, revision="r2", sound_version=2) as new,
    ):
        await say(ws, "start")
        heard = await hear_audio(ws, 12)
        new.presence = replace(new.presence, capacity_streams=1e9)
        new.silent = True
        heard += await hear_audio(ws, 70)
        assert unbroken(heard)
        assert [m["chunk_id"] for m in heard if m["pcm"] != rendered(m["chunk_id"])] == []


async def test_a_renderer_that_is_warming_does_not_count() -> None:
    async with playing() as (edge, _, broker):
        bus = MemoryBus(broker)
        await bus.connect()
        await bus.publish(
            subjects.PRESENCE, presence(instance="w2", revision="r2", sound_version=9, state="warming").encode()
        )
        await until(lambda: edge.service.hub.status()["warming"])
        async with connect(edge) as ws:
            await say(ws, "start")
            assert all(m["pcm"] == rendered(m["chunk_id"]) for m in await hear_audio(ws, 12))
        await bus.close()
