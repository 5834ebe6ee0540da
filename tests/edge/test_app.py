"""The public HTTP: page, API and probes."""

from __future__ import annotations

import time

import httpx
import pytest

from services.contract.spec import LAYERS, StreamSpec
from tests.edge.playing import (
    Fleet,
    connect,
    hear_audio,
    say,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_api_lists_what_plays(fleet: Fleet) -> None:
    edge = fleet.edge
    async with connect(edge) as ws, httpx.AsyncClient(base_url=edge.http) as http:
        await say(ws, "start", key="D", mode="lydian")
        await hear_audio(ws, 12)
        heard = (await http.get("/api/streams")).json()["streams"]
        (stream,) = [one for one in heard if one["stream_id"] == "d-lydian-70-50-drift-0"]
        assert stream["stream"] == {
            "key": "D", "mode": "lydian", "bpm": 70, "intensity": 0.5, "preset": "drift", "seed": 0,
            "brightness": 0.5, "density": 0.5, "texture": "preset", "levels": dict.fromkeys(LAYERS, 1.0),
        }  # fmt: skip
        assert stream["title"] == "Tranquil Pond"
        assert stream["listeners"] == 1
        assert stream["state"] == "playing"
        assert stream["chord"] in ("Am9", "Fmaj7")
        assert stream["section"] == int(time.time()) // 240
        assert 1 <= stream["bar"] <= 70
        assert stream["loudness_dbfs"] == pytest.approx(-15.4, abs=0.1)
        status = (await http.get("/api/status")).json()
        assert (status["listeners"] >= 1, status["max_listeners"], status["streams"] >= 1) == (True, 50, True)
        assert status["ready"] is True
        assert "Tranquil Pond" in status["titles"]
        options = (await http.get("/api/options")).json()
        assert options["bpm"] == [40, 180]
        assert options["brightness"] == options["density"] == [0.0, 1.0, 0.05]
        assert options["textures"] == ["preset", "rain", "sea", "wind", "fire", "vinyl", "insects", "none"]
        assert list(options["sentences"]) == options["presets"]
        assert options["levels"] == {layer: [0.0, 1.5, 0.1] for layer in LAYERS}
        assert options["two_word_seeds"] == 1_000_000
        assert options["defaults"] == StreamSpec().to_params()


async def test_the_api_tells_the_address_and_the_title_of_a_stream(fleet: Fleet) -> None:
    async with httpx.AsyncClient(base_url=fleet.edge.http) as http:
        for written in ("1", "Scented Rookery", "scented-rookery"):
            answer = (await http.get("/api/stream", params={"seed": written, "key": "Eb"})).json()
            assert answer == {
                "stream": StreamSpec("D#", seed=1).to_params(),
                "stream_id": "ds-dorian-70-50-drift-1",
                "title": "Scented Rookery",
            }
        refused = await http.get("/api/stream", params={"seed": "Scented Rockery"})
        assert refused.status_code == 400
        assert refused.json()["detail"].startswith("seed: got 'Scented Rockery', expected")


async def test_a_head_request_gets_the_headers_of_a_get(fleet: Fleet) -> None:
    async with httpx.AsyncClient(base_url=fleet.edge.http) as http:
        for path in (
            "/",
            "/player.js",
            "/api/status",
            "/api/streams",
            "/api/stream",
            "/api/options",
            "/healthz",
            "/readyz",
        ):
            whole, head = await http.get(path), await http.head(path)
            assert (head.status_code, head.headers["content-type"]) == (200, whole.headers["content-type"])
            assert head.content == b""
        assert (await http.post("/")).status_code == 405


async def test_the_player_is_served_with_a_strict_policy(fleet: Fleet) -> None:
    async with httpx.AsyncClient(base_url=fleet.edge.http) as http:
        page = await http.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for name, kind in (
            ("player.js", "text/javascript"),
            ("worklet.js", "text/javascript"),
            ("player.css", "text/css"),
        ):
            answer = await http.get(f"/{name}")
            assert answer.headers["content-type"].startswith(kind)
            assert f'"/{name}"' in page.text or f'"{name}"' in page.text or name == "worklet.js"
        assert (await http.get("/ws")).status_code == 426
        assert (await http.get("/nothing")).status_code == 404
