"""Listeners that change their stream."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.contract.spec import StreamSpec
from services.contract.websocket import JSON_V1, PCM_V1
from tests.edge.playing import (
    Fleet,
    connect,
    hear,
    hear_audio,
    hear_event,
    rendered,
    say,
    unbroken,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    "change",
    [
        {"intensity": 0.9},
        {"brightness": 0.7},
        {"density": 0.2},
        {"texture": "sea"},
        {"levels": {"pad": 0, "air": 1.5}},
    ],
)
async def test_a_change_replaces_chunks_that_have_been_sent(fleet: Fleet, change: dict[str, Any]) -> None:
    # How soon it is heard is a figure: benchmarks/listening.py.
    async with connect(fleet.edge, PCM_V1) as ws:
        await say(ws, "start")
        old = await hear_audio(ws, 15)
        await say(ws, "update", **change)
        while (splice := await hear(ws))["type"] != "splice":
            old += [splice] if splice["type"] == "audio" else []
        assert unbroken(old)
        # The client drops what it holds from there on.
        assert splice["chunk_id"] <= old[-1]["chunk_id"]
        (first,) = await hear_audio(ws, 1)
        new = StreamSpec.from_params(change)
        assert splice["stream_id"] == new.stream_id
        assert splice["stream"] == new.to_params()
        assert first["chunk_id"] == splice["chunk_id"]
        messages = [first, *await hear_audio(ws, 15)]
        assert unbroken(messages)
        assert all(message["pcm"] == rendered(message["chunk_id"], new) for message in messages)


async def test_a_client_without_subprotocol_hears_a_change_without_a_gap(fleet: Fleet) -> None:
    async with connect(fleet.edge) as ws:
        await say(ws, "start")
        before = await hear_audio(ws, 15)
        await say(ws, "update", key="F#")
        after = await hear_audio(ws, 10)
        assert unbroken([*before, *after])
        new = StreamSpec(key="F#")
        kinds = [
            "old" if m["pcm"] == rendered(m["chunk_id"]) else "new" if m["pcm"] == rendered(m["chunk_id"], new) else "x"
            for m in after
        ]
        assert "".join(kind[0] for kind in kinds).lstrip("o").startswith("xnnn")


async def test_dragging_a_slider_leaves_one_stream_and_the_last_value(fleet: Fleet) -> None:
    hub = fleet.edge.service.hub
    async with connect(fleet.edge, JSON_V1) as ws:
        await say(ws, "start", seed=13)
        await hear_audio(ws, 10)
        for step in range(21):
            await say(ws, "update", intensity=step / 20)
            await asyncio.sleep(0.03)  # the pace of a drag
        await hear_event(ws, "splice", stream_id=StreamSpec(intensity_steps=20, seed=13).stream_id)
        heard = [stream["stream"] for stream in hub.now_playing() if stream["stream"]["seed"] == 13]
        assert [stream["intensity"] for stream in heard] == [1.0]
