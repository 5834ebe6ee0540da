from __future__ import annotations

import configparser
import time
from xml.etree import ElementTree as ET

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
        assert lines[1] == "#EXTINF:-1,Auralis - Tranquil Pond (D# dorian, 60 bpm, intensity 0.5, drift)"
        assert (await http.get(edge.http + "/listen.m3u", headers={"host": "a b"})).status_code == 400
        assert (await http.post(edge.http + "/listen.m3u")).status_code == 405


async def test_each_format_names_the_piece_and_the_same_address() -> None:
    async with running_edge(MemoryBroker()) as edge, httpx.AsyncClient(base_url=edge.http) as http:
        query = "?seed=scented-rookery&key=D"
        url = (await http.get("/listen.m3u" + query)).text.splitlines()[2]
        assert "seed=1" in url
        pls = await http.get("/listen.pls" + query)
        assert pls.headers["content-type"] == "audio/x-scpls"
        entries = configparser.ConfigParser(interpolation=None)
        entries.read_string(pls.text)
        assert entries["playlist"]["file1"] == url
        assert entries["playlist"]["title1"].startswith("Auralis - Scented Rookery (D dorian")
        assert entries["playlist"]["numberofentries"] == "1"
        xspf = await http.get("/listen.xspf" + query)
        assert xspf.headers["content-type"] == "application/xspf+xml"
        space = {"x": "http://xspf.org/ns/0/"}
        track = ET.fromstring(xspf.text).find("x:trackList/x:track", space)  # noqa: S314 - our own answer
        assert track is not None
        assert track.findtext("x:location", namespaces=space) == url
        assert (track.findtext("x:title", namespaces=space) or "").startswith("Scented Rookery (D dorian")
        refused = await http.get("/listen.xspf?seed=scented-nothing")
        assert (refused.status_code, "no title ends in 'nothing'" in refused.text) == (400, True)


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
