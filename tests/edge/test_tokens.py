"""Tokens, over WebSocket and HTTP."""

from __future__ import annotations

import time

import httpx
import jwt
import pytest
import websockets

from services.contract.spec import StreamSpec
from tests.edge.playing import (
    closed,
    connect,
    hear,
    hear_audio,
    hear_event,
    playing,
    rendered,
    say,
    unbroken,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


KEY = "a shared secret of thirty-two bytes"


async def test_with_a_key_listeners_need_a_token() -> None:
    good = jwt.encode({"exp": time.time() + 60, "aud": "radio"}, KEY)
    old = jwt.encode({"exp": time.time() - 60, "aud": "radio"}, KEY)
    async with playing(jwt_key=KEY, jwt_audience="radio") as (edge, _, _):
        for url in (edge.ws, f"{edge.ws}?token={old}", f"{edge.ws}?token=nonsense"):
            async with websockets.connect(url) as ws:
                assert (await closed(ws))[0] == 4401
        async with websockets.connect(f"{edge.ws}?token={good}") as ws:
            await say(ws, "start")
            assert len(await hear_audio(ws, 1)) == 1
        async with connect(edge, additional_headers={"Authorization": f"Bearer {good}"}) as ws:
            await say(ws, "start")
            assert len(await hear_audio(ws, 1)) == 1
        assert edge.metric("auralis_refusals_total", reason="token") == 3


async def test_a_token_can_limit_its_bearer_to_some_streams() -> None:
    limited = jwt.encode({"exp": time.time() + 60, "aud": "radio", "streams": ["c-dorian-*", "*-drift-7"]}, KEY)
    broken = jwt.encode({"exp": time.time() + 60, "aud": "radio", "streams": "c-dorian-*"}, KEY)
    async with playing(jwt_key=KEY, jwt_audience="radio") as (edge, _, _):
        async with websockets.connect(f"{edge.ws}?token={broken}") as ws:
            assert (await closed(ws))[0] == 4401
        async with websockets.connect(f"{edge.ws}?token={limited}") as ws:
            await say(ws, "start", key="F#")
            error = await hear(ws)
            assert (error["type"], error["code"]) == ("error", 4401)
            assert error["message"] == "the token does not allow this stream; choose another"
            assert (await closed(ws))[0] == 4401
        async with websockets.connect(f"{edge.ws}?token={limited}") as ws:
            await say(ws, "start", key="C", mode="dorian")
            before = await hear_audio(ws, 12)
            await say(ws, "update", key="F#")
            assert (await hear_event(ws, "error"))["code"] == 4401
            # The stream that it may hear goes on, and it may change to another allowed one.
            await say(ws, "update", key="F#", seed=7)
            after = await hear_audio(ws, 12)
            assert unbroken([*before, *after][-12:])
            new = StreamSpec(key="F#", seed=7)
            assert after[-1]["pcm"] == rendered(after[-1]["chunk_id"], new)
        async with httpx.AsyncClient(base_url=edge.http) as http:
            for path in ("/stream.mp3?key=F%23", "/record?key=F%23"):
                # It is known, so asking for another token would not help.
                answer = await http.get(f"{path}&token={limited}")
                assert (answer.status_code, answer.headers.get("www-authenticate")) == (403, None)
                answer = await http.get(f"{path}&token={broken}")
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
