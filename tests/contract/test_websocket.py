from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.contract import websocket
from services.contract.errors import ContractError, FieldError, MessageError, TruncatedError, UnknownVersionError
from services.contract.spec import LAYERS, SPEC_FIELDS, StreamSpec
from services.contract.timebase import CHUNK_BYTES, MAX_TICK
from services.contract.websocket import (
    FRAME_OPUS,
    FRAME_PCM,
    MAX_INBOUND_BYTES,
    TIER_CHUNKS,
    TIERS,
    AudioFrame,
    CloseCode,
    Report,
    Start,
    Stop,
    Update,
    parse_client_message,
)
from tests.contract.strategies import HOSTILE_JSON, specs, values


def control(action: object, **params: object) -> bytes:
    return json.dumps({"type": "control", "action": action, "params": params}).encode()


# --- what a client says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (
            b'{"type":"control","action":"start","params":{"key":"C","bpm":70,"intensity":0.5}}',
            Start(StreamSpec("C", "dorian", 70, 10)),
        ),
        (b'{"type":"control","action":"start"}', Start(StreamSpec())),
        (b'{"type":"control","action":"start","params":{}}', Start(StreamSpec())),
        (
            (
                b'{"type":"control","action":"start","params":{"key":"Bb","mode":"minor","bpm":90.0,"intensity":1,'
                b'"preset":"harbor","seed":7,"events":true,"resume":"token","chunk_id":17000000003}}'
            ),
            Start(StreamSpec("A#", "aeolian", 90, 20, "harbor", 7), True, "token", 17_000_000_003),  # noqa: FBT003 - as it is
        ),
        (b'{"type":"control","action":"start","params":{"events":null,"resume":null}}', Start(StreamSpec())),
        (b'{"type":"control","action":"stop"}', Stop()),
        (b'{"type":"control","action":"stop","params":"whatever"}', Stop()),
        (b'{"type":"control","action":"update","params":{"bpm":80}}', Update({"bpm": 80})),
        (b'{"type":"control","action":"update","params":{"events":false}}', Update({}, False)),  # noqa: FBT003 - as it is
        (
            b'{"type":"report","chunk_id":17000000003,"buffer_ms":812.5,"underruns":1,"jitter_ms":3}',
            Report(17_000_000_003, 812.5, 1, 3.0),
        ),
        (b'{"type":"control","action":"stop","later":"fields are ignored"}', Stop()),
    ],
)
def test_a_client_says_literally_this(said: bytes, meant: object) -> None:
    assert parse_client_message(said) == meant
    assert parse_client_message(said.decode()) == meant


@given(specs, specs)
def test_an_update_gives_the_named_fields_only(now: StreamSpec, wanted: StreamSpec) -> None:
    message = parse_client_message(control("update", **wanted.to_params()))
    assert isinstance(message, Update)
    assert now.updated(message.params) == wanted
    for name in SPEC_FIELDS:
        one = parse_client_message(control("update", **{name: wanted.to_params()[name]}))
        assert isinstance(one, Update)
        assert now.updated(one.params).to_params() == {**now.to_params(), name: wanted.to_params()[name]}


@pytest.mark.parametrize(
    ("said", "field"),
    [
        (control("play"), "action"),
        (control(None), "action"),
        (control(["start"]), "action"),
        (b'{"type":"control"}', "action"),
        (b'{"type":"control","action":"start","params":[]}', "params"),
        (b'{"type":"control","action":"start","params":null}', "params"),
        (control("start", key="H"), "key"),
        (control("start", bpm="70"), "bpm"),
        (control("start", bpm=10**400), "bpm"),
        (control("update", intensity=2), "intensity"),
        (control("update", seed=-1), "seed"),
        (control("start", mode=None), "mode"),
        (control("start", preset="x" * 3000), "preset"),
        (control("start", events="yes"), "events"),
        (control("start", resume=""), "resume"),
        (control("start", resume="t" * 1025), "resume"),
        (control("start", resume=5), "resume"),
        (control("start", resume="\ud800"), "resume"),
        (control("start", chunk_id=-1), "chunk_id"),
        (control("start", chunk_id=MAX_TICK + 1), "chunk_id"),
        (b'{"type":"report"}', "chunk_id"),
        (b'{"type":"report","chunk_id":1,"buffer_ms":-1,"underruns":0,"jitter_ms":0}', "buffer_ms"),
        (b'{"type":"report","chunk_id":1,"buffer_ms":1,"underruns":1.5,"jitter_ms":0}', "underruns"),
        (b'{"type":"report","chunk_id":1,"buffer_ms":1,"underruns":1,"jitter_ms":1e400}', "jitter_ms"),
        (b'{"type":"report","chunk_id":true,"buffer_ms":1,"underruns":1,"jitter_ms":1}', "chunk_id"),
    ],
)
def test_a_wrong_field_is_named_so_that_the_music_can_go_on(said: bytes, field: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_client_message(said)
    assert caught.value.field == field
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("action", ["start", "update"])
def test_a_parameter_that_does_not_exist_is_named(action: str) -> None:
    with pytest.raises(FieldError, match="tempo"):
        parse_client_message(control(action, tempo=70))
    with pytest.raises(FieldError) as caught:
        parse_client_message(control(action, **{"x" * 3000: 1}))
    assert len(str(caught.value)) < 300


def test_only_a_start_may_resume() -> None:
    with pytest.raises(FieldError, match="resume"):
        parse_client_message(control("update", resume="token"))


@pytest.mark.parametrize("kind", [None, "hello", 1, [], {}, True, "x" * 3000])
def test_a_message_of_no_known_type_is_refused(kind: object) -> None:
    with pytest.raises(MessageError, match="send 'control' or 'report'") as caught:
        parse_client_message(json.dumps({"type": kind}))
    assert len(str(caught.value)) < 200


def test_a_message_that_is_too_long_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(MessageError, match=f"got {MAX_INBOUND_BYTES + 1} bytes, expected at most 4096"):
        parse_client_message(b"{" * (MAX_INBOUND_BYTES + 1))


def test_a_message_cut_anywhere_is_refused() -> None:
    said = control("start", key="C", bpm=70, intensity=0.5)
    for length in range(len(said)):
        with pytest.raises(MessageError):
            parse_client_message(said[:length])


@pytest.mark.parametrize("data", [data for _, data in HOSTILE_JSON], ids=[name for name, _ in HOSTILE_JSON])
def test_hostile_json_is_an_error_of_the_contract(data: bytes) -> None:
    with pytest.raises(ContractError):
        parse_client_message(data)


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["control", "report"]) | values},
        optional={
            "action": st.sampled_from(["start", "update", "stop"]) | values,
            "params": st.dictionaries(st.sampled_from([*SPEC_FIELDS, "events", "resume", "chunk_id", "x"]), values)
            | values,
            "chunk_id": values,
            "buffer_ms": values,
            "underruns": values,
            "jitter_ms": values,
        },
    )
)
@example({"type": "control", "action": "start", "params": {"key": "F#"}})
@example({"type": "control", "action": "update", "params": {"bpm": 71}})
@example({"type": "control", "action": "stop"})
@example({"type": "report", "chunk_id": 7, "buffer_ms": 900, "underruns": 0, "jitter_ms": 1.5})
def test_whatever_arrives_is_a_message_or_an_error_of_the_contract(said: dict[str, Any]) -> None:
    try:
        message = parse_client_message(json.dumps(said))
    except ContractError as caught:
        error = caught
    else:
        assert isinstance(message, Start | Stop | Update | Report)
        if isinstance(message, Update):
            StreamSpec().updated(message.params)
        return
    assert len(str(error)) < 1000


# --- what the edge says ----------------------------------------------------------------------------------------------


def test_the_edge_says_literally_this() -> None:
    spec = StreamSpec("C#", "lydian", 90, 5, "harbor", 7)
    stream = {"key": "C#", "mode": "lydian", "bpm": 90, "intensity": 0.25, "preset": "harbor", "seed": 7}
    stream |= {"brightness": 0.5, "density": 0.5, "texture": "preset", "levels": dict.fromkeys(LAYERS, 1.0)}
    assert websocket.hello(
        spec=spec,
        chunk_id=17_000_000_003,
        tier="normal",
        resume="token",
        recovered=None,
        server_time=1_700_000_000.25,
        limits={"max_inbound_bytes": 4096},
    ) == {
        "type": "hello",
        "version": 1,
        "format": {
            "sample_rate_hz": 44_100,
            "channels": 2,
            "encoding": "s16le",
            "chunk_frames": 4_410,
            "chunk_ms": 100,
        },
        "stream": stream,
        "stream_id": "cs-lydian-90-25-harbor-7",
        "title": "Blended Leaf",
        "chunk_id": 17_000_000_003,
        "current_tier": "normal",
        "resume": "token",
        "recovered": None,
        "server_time": 1_700_000_000.25,
        "limits": {"max_inbound_bytes": 4096},
    }
    assert websocket.status("skipped", from_chunk_id=1, to_chunk_id=5) == {
        "type": "status",
        "state": "skipped",
        "from_chunk_id": 1,
        "to_chunk_id": 5,
    }
    assert websocket.splice(9, spec) == {
        "type": "splice",
        "chunk_id": 9,
        "stream": stream,
        "stream_id": "cs-lydian-90-25-harbor-7",
        "title": "Blended Leaf",
    }
    assert websocket.error(4400, "bad") == {"type": "error", "code": 4400, "message": "bad"}
    assert websocket.error(4400, "bad", "bpm") == {"type": "error", "code": 4400, "message": "bad", "field": "bpm"}


def test_protocols_tiers_and_close_codes_are_literally_these() -> None:
    assert (websocket.JSON_V1, websocket.PCM_V1, websocket.OPUS_V1) == (
        "auralis.json.v1",
        "auralis.pcm.v1",
        "auralis.opus.v1",
    )
    assert TIERS == ("minimal", "normal", "stable", "defensive")
    assert TIER_CHUNKS == {"minimal": 5, "normal": 10, "stable": 15, "defensive": 25}
    assert {code.name: code.value for code in CloseCode} == {
        "STOPPED": 1000,
        "POLICY": 1008,
        "TOO_BIG": 1009,
        "RESTART": 1012,
        "TRY_LATER": 1013,
        "BAD_MESSAGE": 4400,
        "UNAUTHORIZED": 4401,
        "RATE": 4429,
    }


# --- binary frames ---------------------------------------------------------------------------------------------------

OPUS = AudioFrame(17_000_000_003, 1_700_000_000.25, 12, "stable", b"xy", FRAME_OPUS)
OPUS_ENCODED = bytes.fromhex(
    "01"  # version 1
    "02"  # format 2: Opus
    "02"  # tier 2: stable
    "0c"  # 12 chunks deep
    "036a47f503000000"  # chunk 17,000,000,003
    "00001040fc54d941"  # sent at 1,700,000,000.25
    "7879"  # the payload
)
PCM_FRAME = AudioFrame(5, 0.5, 1, "minimal", bytes(CHUNK_BYTES))
PCM_ENCODED = bytes.fromhex("010100010500000000000000000000000000e03f") + bytes(CHUNK_BYTES)


def test_a_frame_has_these_bytes() -> None:
    assert OPUS.encode() == OPUS_ENCODED
    assert AudioFrame.decode(OPUS_ENCODED) == OPUS
    assert PCM_FRAME.encode() == PCM_ENCODED
    assert AudioFrame.decode(PCM_ENCODED) == PCM_FRAME


@given(
    st.integers(0, MAX_TICK),
    st.floats(0, 1e12),
    st.integers(0, 255),
    st.sampled_from(TIERS),
    st.binary(max_size=100),
)
def test_every_frame_reads_back(chunk_id: int, timestamp: float, depth: int, tier: str, payload: bytes) -> None:
    frame = AudioFrame(chunk_id, timestamp, depth, tier, payload, FRAME_OPUS)
    assert AudioFrame.decode(frame.encode()) == frame


def test_a_depth_beyond_a_byte_is_shown_as_the_most_a_byte_holds() -> None:
    frame = AudioFrame(5, 0.5, 1000, "minimal", b"", FRAME_OPUS)
    assert AudioFrame.decode(frame.encode()).buffer_depth == 255


def test_a_frame_cut_anywhere_is_refused() -> None:
    for length in range(20):
        with pytest.raises(TruncatedError):
            AudioFrame.decode(OPUS_ENCODED[:length])
    for length in (20, 21, 1000, len(PCM_ENCODED) - 1):
        with pytest.raises(TruncatedError) as caught:
            AudioFrame.decode(PCM_ENCODED[:length])
        assert (caught.value.observed_bytes, caught.value.expected_bytes) == (length, 20 + CHUNK_BYTES)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_an_unknown_version_of_a_frame_is_a_typed_error(version: int) -> None:
    with pytest.raises(UnknownVersionError, match="audio frame"):
        AudioFrame.decode(bytes([version]) + OPUS_ENCODED[1:])


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (OPUS_ENCODED[:1] + b"\x00" + OPUS_ENCODED[2:], FieldError),
        (OPUS_ENCODED[:1] + b"\x03" + OPUS_ENCODED[2:], FieldError),
        (OPUS_ENCODED[:2] + b"\x04" + OPUS_ENCODED[3:], FieldError),
        (OPUS_ENCODED[:4] + b"\xff" * 8 + OPUS_ENCODED[12:], FieldError),
        (OPUS_ENCODED[:12] + struct.pack("<d", float("nan")) + OPUS_ENCODED[20:], FieldError),
        (PCM_ENCODED + b"\0", MessageError),
    ],
    ids=["format 0", "format 3", "tier 4", "chunk of the far future", "sent at NaN", "PCM too long"],
)
def test_a_frame_that_contradicts_itself_is_refused(data: bytes, error: type[ContractError]) -> None:
    with pytest.raises(error):
        AudioFrame.decode(data)


@given(st.binary(max_size=100))
def test_random_bytes_are_a_frame_or_an_error_of_the_contract(data: bytes) -> None:
    for candidate in (data, b"\x01\x02" + data):
        try:
            frame = AudioFrame.decode(candidate)
        except ContractError:
            continue
        assert frame.encode() == candidate


def test_both_formats_have_their_number() -> None:
    assert (FRAME_PCM, FRAME_OPUS, websocket.FRAME_HEADER_BYTES) == (1, 2, 20)
