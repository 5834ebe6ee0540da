"""What the edge refuses, and to whom."""

from __future__ import annotations

import contextlib

import pytest
import websockets

from services.contract import subjects
from services.contract.spec import StreamSpec
from tests.edge.playing import (
    BOTH,
    Fleet,
    closed,
    connect,
    hear,
    hear_audio,
    hear_event,
    playing,
    say,
    unbroken,
)
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("plain", [False, True], ids=["own", "plain"])
async def test_a_full_edge_answers_503_before_the_upgrade(plain: bool) -> None:  # noqa: FBT001 - a parameter
    async with playing(plain=plain, max_connections=1) as (edge, _, _):
        async with connect(edge):
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with connect(edge):
                    pass
            response = refused.value.response
            assert response.status_code == 503
            assert response.headers["Retry-After"] == "5"
            assert response.body == b"all 1 places are taken; try again later\n"
        await until(lambda: edge.service.hub.listeners == 0)
        async with connect(edge) as ws:
            await say(ws, "start")
            assert len(await hear_audio(ws, 2)) == 2
        assert edge.metric("auralis_refusals_total", reason="connections") == 1


async def test_an_address_has_a_limit_of_connections() -> None:
    async with playing(max_per_ip=1, trusted_proxies=("127.0.0.1/32",)) as (edge, _, _), connect(edge):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connect(edge):
                pass
        assert refused.value.response.status_code == 429
        async with connect(edge, additional_headers={"X-Forwarded-For": "198.51.100.7"}):
            pass


async def test_a_page_of_another_origin_may_not_connect() -> None:
    async with playing(allowed_origins=("https://radio.example",)) as (edge, _, _):
        async with connect(edge, origin="https://radio.example"):
            pass
        async with connect(edge, origin=edge.http):
            pass
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with connect(edge, origin="https://evil.example"):
                pass
        assert refused.value.response.status_code == 403


@BOTH
@pytest.mark.parametrize(("message", "code"), [("nonsense", 4400), ("x" * 5000, 1009), (b"\x00" * 5000, 1009)])
async def test_bad_input_closes_only_the_connection_that_sent_it(
    message: str | bytes, code: int, server: str, fleet: Fleet
) -> None:
    async with connect(fleet.named(server)) as good, connect(fleet.named(server)) as bad:
        await say(good, "start")
        heard = await hear_audio(good, 5)
        await bad.send(message)
        assert (await closed(bad))[0] == code
        assert unbroken([*heard, *await hear_audio(good, 10)])


async def test_a_flood_of_messages_is_closed_with_4429(fleet: Fleet) -> None:
    async with connect(fleet.edge) as ws:
        with contextlib.suppress(websockets.ConnectionClosed):
            for _ in range(300):
                await say(ws, "update", bpm=70)
        assert (await closed(ws))[0] == 4429


async def test_more_streams_than_the_limit_are_refused_with_1013() -> None:
    async with playing(max_streams=1) as (edge, _, _):
        async with connect(edge) as first, connect(edge) as second:
            await say(first, "start")
            heard = await hear_audio(first, 12)
            await say(second, "start", key="G")
            assert (await hear(second))["code"] == 1013
            assert (await closed(second))[0] == 1013
            # A change that does not fit is an error, and what plays goes on.
            await say(first, "update", key="G")
            assert (await hear_event(first, "error"))["code"] == 1013
            assert (await hear_audio(first, 1))[0]["chunk_id"] > heard[-1]["chunk_id"]
        # A stream without listeners gives up its place immediately.
        async with connect(edge) as third:
            await say(third, "start", key="G")
            assert len(await hear_audio(third, 2)) == 2


async def test_when_renderers_are_late_new_streams_are_refused_and_old_ones_play_on() -> None:
    async with playing() as (edge, _, _), connect(edge) as first, connect(edge) as second:
        await say(first, "start")
        await hear_audio(first, 12)
        now_s = edge.service.hub.clock.now()
        for _ in range(20):
            edge.service.hub.streams.load.missed(now_s)
        await say(second, "start", key="G")
        assert (await hear(second))["type"] == "error"
        assert (await closed(second))[0] == 1013
        assert unbroken(await hear_audio(first, 5))
        async with connect(edge) as third:
            await say(third, "start")
            assert len(await hear_audio(third, 2)) == 2
        assert edge.metric("auralis_refusals_total", reason="overload") == 1


async def test_a_stream_that_renderers_failed_at_is_refused_with_an_error(fleet: Fleet) -> None:
    spec = StreamSpec(key="G", seed=14)
    async with connect(fleet.edge) as ws:
        for _ in range(3):
            fleet.broker.count(subjects.POISON_BUCKET, spec.stream_id, 300)
        await say(ws, "start", key="G", seed=14)
        message = await hear(ws)
        assert (message["type"], message["code"]) == ("error", 1008)
        assert (await closed(ws))[0] == 1008
        assert all(stream_id != spec.stream_id for _, stream_id, _, _ in fleet.tiny.jobs)
