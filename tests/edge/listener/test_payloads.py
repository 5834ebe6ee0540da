from __future__ import annotations

import base64
import json

import pytest

from services.contract.timebase import CHUNK_BYTES
from services.contract.websocket import AudioFrame
from services.edge.chunk_encoder import ChunkEncoder
from services.edge.listener.payloads import Format, Payload, PayloadCache, event_payload
from services.edge.stream.chunk import Chunk
from services.edge.streaming_server import StreamingServer
from tests.edge.support import StillClock

PCM = bytes(range(256)) * 68 + bytes(CHUNK_BYTES - 256 * 68)


class CountingEncoder(ChunkEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def encode(self, audio_data: bytes | memoryview) -> str:
        self.count += 1
        return super().encode(audio_data)


class Catcher:
    def __init__(self) -> None:
        self.payloads: list[Payload] = []

    def send(self, payload: Payload) -> None:
        self.payloads.append(payload)


def maker(encoder: ChunkEncoder | None = None, now_s: float = 1_763_900_000.25) -> PayloadCache:
    payloads = PayloadCache(encoder or ChunkEncoder())
    payloads.begin(now_s)
    return payloads


def test_the_json_message_is_as_the_guides_clients_expect_it() -> None:
    payload = maker().audio(Chunk(17_639_000_002, PCM), Format.JSON, "normal", 10)
    assert payload.data.startswith(b'{"type":"audio","chunk_id":17639000002,"data":"AAECAwQF')
    assert payload.data.endswith(b'","timestamp":1763900000.250000,"buffer_depth":10,"current_tier":"normal"}')
    message = json.loads(payload.data)
    assert base64.b64decode(message["data"]) == PCM
    assert payload.chunk_id == 17_639_000_002


def test_the_binary_message_is_the_contracts_frame() -> None:
    payload = maker().audio(Chunk(7, memoryview(PCM)), Format.PCM, "stable", 15)
    decoded = AudioFrame.decode(payload.data)
    assert (decoded.chunk_id, decoded.current_tier, decoded.buffer_depth) == (7, "stable", 15)
    assert decoded.timestamp == 1_763_900_000.25
    assert bytes(decoded.payload) == PCM


@pytest.mark.parametrize(
    ("size", "header"), [(5, b"\x81\x05"), (300, b"\x81\x7e\x01\x2c"), (70_000, b"\x81\x7f" + (70_000).to_bytes(8))]
)
def test_the_wire_has_the_frame_header_of_its_length(size: int, header: bytes) -> None:
    payload = Payload(b"x" * size, text=True)
    assert payload.wire == header + b"x" * size


def test_a_binary_payload_says_so() -> None:
    assert Payload(b"abc", text=False).wire == b"\x82\x03abc"


def test_an_asgi_message_is_made_once() -> None:
    text, binary = Payload(b"abc", text=True), Payload(b"abc", text=False)
    assert text.asgi_message == {"type": "websocket.send", "text": "abc"}
    assert binary.asgi_message == {"type": "websocket.send", "bytes": b"abc"}
    assert text.asgi_message is text.asgi_message


def test_an_event_is_json_text() -> None:
    assert event_payload({"type": "status", "state": "warming"}).data == b'{"type":"status","state":"warming"}'


def test_base64_is_made_once_per_chunk_and_the_envelope_once_per_tier_depth_and_moment() -> None:
    encoder = CountingEncoder()
    payloads = maker(encoder)
    chunk = Chunk(1, PCM)
    one = payloads.audio(chunk, Format.JSON, "normal", 10)
    assert payloads.audio(chunk, Format.JSON, "normal", 10) is one
    assert payloads.audio(chunk, Format.JSON, "stable", 15) is not one
    payloads.begin(1_763_900_000.35)
    later = payloads.audio(chunk, Format.JSON, "normal", 10)
    assert later is not one
    assert json.loads(later.data)["timestamp"] == 1_763_900_000.35
    assert encoder.count == 1


def test_two_streams_chunks_of_one_tick_are_not_mixed_up() -> None:
    payloads = maker()
    first = payloads.audio(Chunk(1, PCM), Format.PCM, "normal", 1)
    second = payloads.audio(Chunk(1, bytes(CHUNK_BYTES)), Format.PCM, "normal", 1)
    assert first.data != second.data


def test_the_encoder_tells_how_long_it_took() -> None:
    seen: list[float] = []
    assert ChunkEncoder(seen.append).encode(b"\x00\x01\x02") == "AAEC"
    assert len(seen) == 1
    assert 0 <= seen[0] < 1


async def test_a_broadcast_encodes_once_and_sends_all_clients_the_same_payload() -> None:
    encoder = CountingEncoder()
    server = StreamingServer(StillClock(), encoder)
    clients = [Catcher() for _ in range(10)]
    server.clients = list(clients)
    await server.broadcast_chunk(PCM)
    assert encoder.count == 1
    assert len({id(client.payloads[0]) for client in clients}) == 1
    message = json.loads(clients[0].payloads[0].data)
    assert message["chunk_id"] == 17_639_000_000
    assert base64.b64decode(message["data"]) == PCM


async def test_a_broadcast_of_something_else_than_a_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="got 3 bytes, expected 17640"):
        await StreamingServer().broadcast_chunk(b"abc")
