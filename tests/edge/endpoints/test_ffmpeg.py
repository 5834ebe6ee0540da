"""Players that know nothing of Auralis: Debian's ffmpeg at the HTTP streams."""

from __future__ import annotations

import asyncio
import re
import shutil

import httpx
import pytest

from services.runtime.bus.memory import MemoryBroker
from tests.edge.support import TinyRenderer, running_edge
from tests.support.waiting import until

FFMPEG = shutil.which("ffmpeg")

pytestmark = pytest.mark.skipif(FFMPEG is None, reason="no ffmpeg on PATH (apt install ffmpeg)")


async def ffmpeg(*arguments: str) -> str:
    """What it says, all warnings included."""
    assert FFMPEG is not None
    process = await asyncio.create_subprocess_exec(
        FFMPEG, "-hide_banner", "-nostdin", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_ffmpeg_plays_both_streams_for_20_seconds_without_a_word() -> None:
    broker = MemoryBroker()
    renderer = TinyRenderer(broker)
    renderer.marked = False
    await renderer.start()
    try:
        async with running_edge(broker) as edge:
            await until(lambda: edge.service.hub.status()["renderers"] == 1)

            filters = "silencedetect=noise=-50dB:d=0.1,astats=metadata=0:measure_perchannel=none"

            async def play(path: str) -> str:
                # At its own pace (-re), as a sound card would; silencedetect speaks up at 100 ms of silence.
                return await ffmpeg(
                    "-loglevel", "info", "-re", "-i", edge.http + path, "-t", "20", "-af", filters, "-f", "null", "-"
                )

            for said in await asyncio.gather(play("/stream.opus"), play("/stream.mp3")):
                assert "silence_start" not in said, said
                assert not re.search("error|invalid|missing|corrupt|discard|overread", said, re.IGNORECASE), said
                level = re.search(r"RMS level dB: (-?[\d.]+)", said)
                assert level is not None
                assert float(level.group(1)) == pytest.approx(-15.3, abs=0.5)
            async with httpx.AsyncClient() as http:
                playlist = (await http.get(f"{edge.http}/listen.m3u?key=D")).text
            url = playlist.split()[-1]
            assert "rror" not in await ffmpeg("-loglevel", "warning", "-i", url, "-t", "2", "-f", "null", "-")
    finally:
        await renderer.stop()
