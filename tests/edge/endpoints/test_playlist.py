from __future__ import annotations

import time

import httpx
import jwt

from services.runtime.bus.memory import MemoryBroker
from tests.edge.support import running_edge


async def test_the_playlist_contains_the_address_of_the_stream() -> None:
    async with running_edge(MemoryBroker()) as edge, httpx.AsyncClient() as http:
        response = await http.get(edge.http + "/listen.m3u?key=Eb&bpm=60")
        lines = response.text.splitlines()
        assert lines[0] == "#EXTM3U"
        assert lines[2].startswith(f"{edge.http}/stream.mp3?key=D%23")
        assert (await http.get(edge.http + "/listen.m3u", headers={"host": "a b"})).status_code == 400
        assert (await http.post(edge.http + "/listen.m3u")).status_code == 405


async def test_the_address_has_https_only_if_a_trusted_proxy_says_so() -> None:
    headers = {"host": "radio.example", "x-forwarded-proto": "https"}
    for trusted, scheme in ((("127.0.0.1",), "https"), ((), "http")):
        async with running_edge(MemoryBroker(), trusted_proxies=trusted) as edge, httpx.AsyncClient() as http:
            text = (await http.get(edge.http + "/listen.m3u", headers=headers)).text
            assert text.splitlines()[2].startswith(f"{scheme}://radio.example/stream.mp3?")


async def test_the_address_contains_the_token_of_the_request() -> None:
    key = "a shared secret of thirty-two bytes"
    token = jwt.encode({"exp": time.time() + 60}, key)
    async with running_edge(MemoryBroker(), jwt_key=key) as edge, httpx.AsyncClient() as http:
        url = (await http.get(edge.http + f"/listen.m3u?key=D&token={token}")).text.splitlines()[2]
        assert (await http.head(url)).status_code == 200
        assert (await http.head(url.partition("&token=")[0])).status_code == 401
