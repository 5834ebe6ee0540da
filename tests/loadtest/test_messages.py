from __future__ import annotations

import json

import pytest

from services.contract.spec import StreamSpec
from services.contract.timebase import CHUNK_BYTES
from services.contract.websocket import AudioFrame, Start, Stop, parse_client_message
from services.loadtest import messages
from services.loadtest.frames import BINARY, HEAD_BYTES, TEXT, FrameError, Message
from services.loadtest.messages import Audio


def message(opcode: int, data: bytes) -> Message:
    return Message(opcode, len(data), data if len(data) <= 4096 else data[:HEAD_BYTES])


def test_the_head_of_a_binary_message_has_the_chunks_number() -> None:
    data = AudioFrame(17_639_000_123, 1.5, 9, "stable", bytes(CHUNK_BYTES)).encode()
    assert messages.read(message(BINARY, data)) == Audio(17_639_000_123, 2)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_the_head_of_a_json_message_has_the_chunks_number(separators: tuple[str, str]) -> None:
    body = {"type": "audio", "chunk_id": 17_639_000_123, "data": "A" * 23_520, "buffer_depth": 9}
    data = json.dumps(body, separators=separators).encode()
    assert messages.read(message(TEXT, data)) == Audio(17_639_000_123, -1)


def test_other_messages_are_read_whole() -> None:
    assert messages.read(message(TEXT, b'{"type":"status","state":"draining"}')) == {
        "type": "status",
        "state": "draining",
    }


@pytest.mark.parametrize(
    ("opcode", "data"), [(BINARY, b"\x01\x01"), (BINARY, b"\x09" + bytes(30)), (TEXT, b"hello"), (TEXT, b"[1]")]
)
def test_messages_that_no_edge_sends_are_an_error(opcode: int, data: bytes) -> None:
    with pytest.raises(FrameError):
        messages.read(message(opcode, data))


def test_its_messages_are_valid_for_an_edge() -> None:
    spec = StreamSpec.from_params({"seed": 5})
    assert parse_client_message(messages.start(spec)) == Start(spec)
    again = parse_client_message(messages.start(spec, resume="token", next_id=77))
    assert again == Start(spec, resume="token", chunk_id=77)
    steered = StreamSpec.from_params({"brightness": 0.7, "levels": {"pad": 0}})
    assert parse_client_message(messages.start(steered)) == Start(steered)
    assert parse_client_message(messages.stop()) == Stop()
