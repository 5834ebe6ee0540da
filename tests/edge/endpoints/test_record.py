from __future__ import annotations

import io
import wave

import av
import httpx
import numpy as np
import pytest

from services.contract.errors import FieldError
from services.contract.spec import StreamSpec
from services.contract.timebase import CHUNK_FRAMES, SAMPLE_RATE_HZ
from services.edge.endpoints import recorder as module
from services.edge.endpoints.record import parse_query
from services.edge.endpoints.recorder import to_opus, to_wav
from services.runtime.bus.memory import MemoryBroker
from tests.edge.playing import connect, hear_audio, rendered, say
from tests.edge.support import SPEC, TinyRenderer, pcm_of, pitch_hz, running_edge
from tests.support.waiting import until


def test_the_query_names_stream_length_and_format() -> None:
    assert parse_query("") == (StreamSpec(), 15, "wav")
    assert parse_query("seconds=20&format=opus&key=F%23") == (StreamSpec(key="F#"), 20, "opus")


@pytest.mark.parametrize(
    "query",
    ["seconds=21", "seconds=0", "seconds=x", "seconds=1e9", "seconds=0000052000000", "format=flac", "bpm=999", "a=b"],
)
def test_a_query_out_of_range_is_refused_by_the_name_of_its_field(query: str) -> None:
    with pytest.raises(FieldError, match=query.partition("=")[0]):
        parse_query(query)


def test_a_wav_file_holds_the_chunks_and_nothing_else() -> None:
    pcm = pcm_of(SPEC.stream_id, 1)
    with wave.open(io.BytesIO(to_wav([pcm[:17640], pcm[17640 : 2 * 17640]]))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (44_100, 2, 2)
        assert file.readframes(10**6) == pcm[: 2 * 17640]


def test_an_opus_file_is_complete_to_its_last_chunk() -> None:
    pcm = pcm_of(SPEC.stream_id, 1, marked=False)
    data = to_opus([pcm[start : start + 17640] for start in range(0, len(pcm), 17640)], "Tranquil Pond")
    with av.open(io.BytesIO(data)) as container:
        assert container.streams.audio[0].metadata["title"] == "Tranquil Pond"
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SAMPLE_RATE_HZ)
        sound = np.concatenate(
            [out.to_ndarray()[0] for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        )
    assert len(sound) == pytest.approx(10 * CHUNK_FRAMES, abs=CHUNK_FRAMES / 5)
    middle = sound[CHUNK_FRAMES : 9 * CHUNK_FRAMES]
    peak = np.argmax(np.abs(np.fft.rfft(middle * np.hanning(len(middle)))))
    assert peak * SAMPLE_RATE_HZ / len(middle) == pytest.approx(pitch_hz(SPEC.stream_id), abs=2)


async def test_a_stream_with_a_listener_can_be_recorded_and_no_other() -> None:
    broker = MemoryBroker()
    renderer = TinyRenderer(broker)
    await renderer.start()
    try:
        async with running_edge(broker) as edge, httpx.AsyncClient(base_url=edge.http) as http:
            await until(lambda: edge.service.hub.status()["renderers"] == 1)
            assert (await http.get("/record?seconds=5")).status_code == 404
            async with connect(edge) as ws:
                await say(ws, "start")
                heard = await hear_audio(ws, 25)
                answer = await http.get("/record?seconds=1")
                assert answer.status_code == 200
                assert answer.headers["content-type"] == "audio/wav"
                assert answer.headers["content-disposition"] == f'attachment; filename="auralis-{SPEC.stream_id}.wav"'
                with wave.open(io.BytesIO(answer.content)) as file:
                    assert file.getnframes() == 10 * CHUNK_FRAMES
                    sound = file.readframes(10 * CHUNK_FRAMES)
                # The second before now, which this listener has in its buffer or has played.
                assert any(sound.startswith(rendered(message["chunk_id"])) for message in heard)
                refused = await http.get("/record?seconds=99")
                assert (refused.status_code, "seconds" in refused.text) == (400, True)
                assert (await http.post("/record")).status_code == 405
                head = await http.head("/record?format=opus&seconds=1")
                assert (head.status_code, head.headers["content-type"], head.content) == (200, "audio/ogg", b"")
    finally:
        await renderer.stop()


async def test_a_recording_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_RECORDINGS", 0)
    broker = MemoryBroker()
    renderer = TinyRenderer(broker)
    await renderer.start()
    try:
        async with running_edge(broker) as edge, httpx.AsyncClient(base_url=edge.http) as http, connect(edge) as ws:
            await until(lambda: edge.service.hub.status()["renderers"] == 1)
            await say(ws, "start")
            # Four more than a buffer holds, so something has been heard.
            await hear_audio(ws, 14)
            answer = await http.get("/record")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    finally:
        await renderer.stop()
