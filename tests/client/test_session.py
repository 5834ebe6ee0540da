import base64
import json

import pytest

from services.client.session import MAX_MESSAGE_BYTES, Chunk, Hello, ServerError, Session, Splice, Status
from services.contract import websocket
from services.contract.errors import ContractError, FieldError
from services.contract.spec import LAYERS, StreamSpec
from services.contract.timebase import CHUNK_BYTES
from services.contract.websocket import AudioFrame, CloseCode, Start, Update, parse_client_message

SPEC = StreamSpec.from_params({"key": "D", "mode": "dorian", "bpm": 60, "intensity": 0.4})
PCM = bytes(range(256)) * (CHUNK_BYTES // 256) + bytes(CHUNK_BYTES % 256)


def receive(session: Session, message: object) -> object:
    data = message if isinstance(message, bytes) else json.dumps(message)
    return session.receive(data, now_s=7.0, now_unix_s=1000.5)


def audio(**changes: object) -> dict[str, object]:
    data = base64.b64encode(PCM).decode()
    message = {"type": "audio", "chunk_id": 12, "data": data, "timestamp": 1000.25}
    return {**message, "buffer_depth": 3, "current_tier": "normal", **changes}


EXPECTED = Chunk(12, PCM, 3, "normal", 1000.25, 1000.5, 7.0)


def test_an_audio_message_becomes_a_chunk() -> None:
    assert receive(Session(SPEC, format="json"), audio()) == EXPECTED


def test_a_binary_frame_becomes_the_same_chunk() -> None:
    assert receive(Session(SPEC), AudioFrame(12, 1000.25, 3, "normal", PCM).encode()) == EXPECTED


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x02" + bytes(30),
        audio(data="A"),
        audio(data=7),
        audio(data="AAAA"),
        audio(chunk_id=-1),
        audio(current_tier="enormous"),
        audio(timestamp="now"),
        audio(buffer_depth=None),
        {"type": "splice", "chunk_id": 3, "stream_id": "nonsense"},
        {"type": "hello"},
        {"type": "error", "code": "x", "message": "y"},
        [1, 2],
    ],
)
def test_what_no_edge_sends_is_an_error_of_the_contract(message: object) -> None:
    with pytest.raises(ContractError):
        receive(Session(SPEC), message)


def test_a_message_that_is_too_long_is_not_even_parsed() -> None:
    with pytest.raises(ContractError, match="bytes"):
        Session(SPEC).receive("x" * (MAX_MESSAGE_BYTES + 1), now_s=0, now_unix_s=0)


def test_unknown_kinds_are_skipped_and_counted() -> None:
    session = Session(SPEC)
    assert receive(session, {"type": "weather", "sun": True}) is None
    opus = AudioFrame(1, 0.0, 1, "normal", b"opus", format=websocket.FRAME_OPUS).encode()
    assert receive(session, opus) is None
    assert session.unknown_messages == 2


def test_the_start_message_is_one_that_an_edge_reads() -> None:
    assert parse_client_message(Session(SPEC).start_message()) == Start(SPEC)


def test_the_newest_token_is_sent_with_what_is_missing() -> None:
    session = Session(SPEC)
    hello = websocket.hello(
        spec=SPEC, chunk_id=5, tier="normal", resume="token-1", recovered=None, server_time=1.0, limits={}
    )
    event = receive(session, hello)
    assert isinstance(event, Hello)
    assert (event.spec, event.chunk_id, event.recovered) == (SPEC, 5, None)
    assert parse_client_message(session.start_message(9)) == Start(SPEC, resume="token-1", chunk_id=9)
    assert receive(session, websocket.status("draining", resume="token-2")) == Status(
        "draining", {"type": "status", "state": "draining", "resume": "token-2"}
    )
    assert parse_client_message(session.start_message()) == Start(SPEC, resume="token-2")
    session.closed(CloseCode.RESTART, "token-3")
    session.closed(CloseCode.POLICY, "not a token")
    assert parse_client_message(session.start_message()) == Start(SPEC, resume="token-3")


def test_an_update_is_checked_here_and_remembered_for_the_next_connection() -> None:
    session = Session(SPEC)
    assert parse_client_message(session.update_message({"bpm": 72, "key": "Eb"})) == Update({"bpm": 72, "key": "Eb"})
    assert session.spec == SPEC.updated({"bpm": 72, "key": "D#"})
    for bad in (
        {"bpm": 999},
        {"colour": "blue"},
        {"events": True},
        {"levels": {"pad": 2}},
        {"density": -1},
        {"texture": "snow"},
    ):
        with pytest.raises(FieldError):
            session.update_message(bad)
    assert session.spec.bpm == 72


def test_a_steered_session_starts_again_with_what_it_hears() -> None:
    session = Session(SPEC)
    first = json.loads(session.start_message())["params"]
    assert first.keys() == {"key", "mode", "bpm", "intensity", "preset", "seed"}
    session.update_message({"brightness": 0.7, "levels": {"pad": 0.5}})
    session.update_message({"levels": {"air": 0}})
    again = json.loads(session.start_message())["params"]
    assert again == {**first, "brightness": 0.7, "levels": {"pad": 0.5, "air": 0.0}}
    assert parse_client_message(session.start_message()) == Start(session.spec)


def test_a_splice_to_the_longest_address_is_read() -> None:
    levels = dict.fromkeys(LAYERS, 1.5)
    longest = SPEC.updated(
        {
            "brightness": 1, "density": 1, "texture": "insects", "levels": levels, "seed": 2**32 - 1,
            "preset": "cathedral",
        }
    )  # fmt: skip
    assert len(longest.stream_id) > 100
    assert receive(Session(SPEC), websocket.splice(44, longest)) == Splice(44, longest)


def test_a_splice_and_an_error_are_read() -> None:
    session = Session(SPEC)
    other = SPEC.updated({"bpm": 90})
    assert receive(session, websocket.splice(44, other)) == Splice(44, other)
    assert session.spec == other
    assert receive(session, websocket.error(4400, "no", "bpm")) == ServerError(4400, "no", "bpm")
    assert receive(session, websocket.error(4400, "no")) == ServerError(4400, "no", None)


def test_the_report_and_the_stop_are_ones_that_an_edge_reads() -> None:
    report = Session.report_message(chunk_id=5, buffer_ms=1234.56, underruns=1, jitter_ms=3.14159)
    assert parse_client_message(report) == websocket.Report(5, 1234.6, 1, 3.14)
    assert parse_client_message(Session.stop_message()) == websocket.Stop()


def test_what_is_offered_follows_format_and_events() -> None:
    assert Session(SPEC, format="pcm", events=False).subprotocols == ["auralis.pcm.v1"]
    assert Session(SPEC, format="json").subprotocols == ["auralis.json.v1"]
    assert Session(SPEC, format="json", events=False).subprotocols == []
