"""Messages of `/ws` in both directions, close codes, and the binary frame. Pure.

A client without a subprotocol receives `audio` and `error` messages only, as JSON. A client that asks for events
(`params.events: true`, or one of the subprotocols below) also receives `hello`, `status` and `splice`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from services.contract.errors import FieldError, MessageError, TruncatedError, UnknownVersionError, shorten
from services.contract.messages import read_object, take_int, take_number
from services.contract.spec import SPEC_FIELDS, StreamSpec
from services.contract.timebase import CHANNELS, CHUNK_BYTES, CHUNK_FRAMES, CHUNK_MS, MAX_TICK, SAMPLE_RATE_HZ

JSON_V1: Final = "auralis.json.v1"
PCM_V1: Final = "auralis.pcm.v1"
OPUS_V1: Final = "auralis.opus.v1"

MAX_INBOUND_BYTES: Final = 4096
"""Longest message of a client; a longer one ends the connection with 1009."""

TIERS: Final = ("minimal", "normal", "stable", "defensive")
TIER_CHUNKS: Final[Mapping[str, int]] = {"minimal": 5, "normal": 10, "stable": 15, "defensive": 25}
"""Chunks of 100 ms that each tier keeps in the client's buffer."""

FORMAT: Final[Mapping[str, Any]] = {
    "sample_rate_hz": SAMPLE_RATE_HZ,
    "channels": CHANNELS,
    "encoding": "s16le",
    "chunk_frames": CHUNK_FRAMES,
    "chunk_ms": CHUNK_MS,
}
"""Audio format in JSON and PCM messages."""

OPUS_RATE_HZ: Final = 48_000
OPUS_PACKET_MS: Final = 20
OPUS_PACKETS: Final = CHUNK_MS // OPUS_PACKET_MS
"""Packets of a chunk."""
OPUS_PREROLL_PACKETS: Final = 4
"""80 ms before a chunk, which a new decoder decodes and discards."""
OPUS_FORMAT: Final[Mapping[str, Any]] = {
    "sample_rate_hz": OPUS_RATE_HZ,
    "channels": CHANNELS,
    "encoding": "opus",
    "chunk_frames": OPUS_RATE_HZ * CHUNK_MS // 1000,
    "chunk_ms": CHUNK_MS,
    "packet_ms": OPUS_PACKET_MS,
    "preroll_ms": OPUS_PREROLL_PACKETS * OPUS_PACKET_MS,
}


class CloseCode(IntEnum):
    """Reasons for which the edge ends a connection."""

    STOPPED = 1000
    POLICY = 1008
    TOO_BIG = 1009
    RESTART = 1012
    """The edge shuts down: reconnect at once with the resume token."""
    TRY_LATER = 1013
    BAD_MESSAGE = 4400
    UNAUTHORIZED = 4401
    RATE = 4429


@dataclass(frozen=True, slots=True)
class Start:
    """Start a stream, or start anew with another.

    Attributes:
        spec: the stream.
        events: the client asks for `hello`, `status` and `splice`.
        resume: the token of an earlier connection; None: there was none.
        chunk_id: with `resume`, the first chunk that the client lacks, which a token that was issued earlier does not
            know; None: the client goes on at the live tick.
    """

    spec: StreamSpec
    events: bool = False
    resume: str | None = None
    chunk_id: int | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Change some fields of the current stream.

    Attributes:
        params: the changed fields, each valid; apply them with `spec.updated(params)`.
        events: as in `Start`; None: unchanged.
    """

    params: Mapping[str, Any]
    events: bool | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """End the stream; the edge closes the connection with 1000."""


@dataclass(frozen=True, slots=True)
class Report:
    """The state of the client's player.

    Attributes:
        chunk_id: the chunk being played.
        buffer_ms: sound that waits to be played.
        underruns: times that the buffer ran dry since the client connected.
        jitter_ms: jitter of arrivals, as the client measures it.
    """

    chunk_id: int
    buffer_ms: float
    underruns: int
    jitter_ms: float


ClientMessage = Start | Update | Stop | Report


def parse_client_message(data: str | bytes) -> ClientMessage:
    """Read a client's message.

    Raises:
        MessageError: it is not a JSON object or has an unknown type; close with 4400.
        FieldError: a field is not valid; answer with `error`, the stream goes on.
    """
    value = read_object("message", data, limit_bytes=MAX_INBOUND_BYTES)
    kind = value.get("type")
    if kind == "control":
        return _parse_control(value)
    if kind == "report":
        return Report(
            chunk_id=take_int(value, "chunk_id", 0, MAX_TICK),
            buffer_ms=take_number(value, "buffer_ms", 0, 3_600_000),
            underruns=take_int(value, "underruns", 0, 2**31),
            jitter_ms=take_number(value, "jitter_ms", 0, 3_600_000),
        )
    raise MessageError(f"message: type {shorten(kind)} is unknown; send 'control' or 'report'")


def _parse_control(value: Mapping[str, Any]) -> ClientMessage:
    action = value.get("action")
    if action == "stop":
        return Stop()
    if action not in ("start", "update"):
        raise FieldError("action", action, "one of start, update, stop")
    params = value.get("params", {})
    if not isinstance(params, dict):
        raise FieldError("params", params, "an object")
    allowed = (*SPEC_FIELDS, "events", "resume", "chunk_id") if action == "start" else (*SPEC_FIELDS, "events")
    for name in params:
        if name not in allowed:
            raise FieldError(f"params.{shorten(name, 40)}", params[name], f"only {', '.join(allowed)}")
    events = params.get("events")
    if events is not None and not isinstance(events, bool):
        raise FieldError("events", events, "true or false")
    spec = StreamSpec.from_params(params)
    if action == "update":
        return Update({name: params[name] for name in SPEC_FIELDS if name in params}, events)
    resume = params.get("resume")
    if resume is not None and not (isinstance(resume, str) and 0 < len(resume) <= 1024 and resume.isascii()):
        raise FieldError("resume", resume, "the token of a hello message")
    chunk_id = None if params.get("chunk_id") is None else take_int(params, "chunk_id", 0, MAX_TICK)
    return Start(spec, bool(events), resume, chunk_id)


def hello(
    *,
    spec: StreamSpec,
    chunk_id: int,
    tier: str,
    resume: str,
    recovered: bool | None,
    server_time: float,
    limits: Mapping[str, Any],
    format_: Mapping[str, Any] = FORMAT,
) -> dict[str, Any]:
    """The first message to a client that asked for events, repeated when its stream or token changes.

    Args:
        chunk_id: the first chunk that will be sent.
        resume: token for `params.resume` after a broken connection.
        recovered: after a resume, whether the stream goes on without gap or repeat; None: nothing was resumed.
        server_time: unix seconds of sending.
        limits: limits that the client must keep (`max_inbound_bytes`, `max_updates_per_s`, …).
        format_: of the audio: `FORMAT`, or `OPUS_FORMAT` on `auralis.opus.v1`.
    """
    return {
        "type": "hello",
        "version": 1,
        "format": dict(format_),
        "stream": spec.to_params(),
        "stream_id": spec.stream_id,
        "title": spec.title,
        "chunk_id": chunk_id,
        "current_tier": tier,
        "resume": resume,
        "recovered": recovered,
        "server_time": server_time,
        "limits": dict(limits),
    }  # fmt: skip


def status(state: str, **details: Any) -> dict[str, Any]:
    """A change of this listener's state.

    Args:
        state: "warming" (no renderer is ready yet), "playing", "degraded" (a loop plays while rendering is away),
            "skipped" (the listener was too slow and missed `from_chunk_id` to `to_chunk_id`; with `reason` "clock" it
            missed nothing: the edge's clock was set, and the chunk that would have been `from_chunk_id` is sent as
            `to_chunk_id`, which may be smaller), "draining".
    """
    return {"type": "status", "state": state, **details}


def splice(chunk_id: int, spec: StreamSpec) -> dict[str, Any]:
    """Chunks from `chunk_id` on are void and will be sent again as `spec`; crossfade into them."""
    return {
        "type": "splice",
        "chunk_id": chunk_id,
        "stream": spec.to_params(),
        "stream_id": spec.stream_id,
        "title": spec.title,
    }


def error(code: int, message: str, field: str | None = None) -> dict[str, Any]:
    """An error in the client's message; `field` names the field that is not valid."""
    body: dict[str, Any] = {"type": "error", "code": code, "message": message}
    if field is not None:
        body["field"] = field
    return body


# --- binary frames: auralis.pcm.v1 and auralis.opus.v1 -------------------------------------------------------------

_FRAME_HEADER = struct.Struct("<BBBBQd")
FRAME_HEADER_BYTES: Final = _FRAME_HEADER.size
FRAME_VERSION: Final = 1
FRAME_PCM: Final = 1
FRAME_OPUS: Final = 2


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """A chunk as a binary WebSocket message: 20 bytes of header, then the payload.

    Layout, little-endian: version (1 byte), format (1: s16le, 2: Opus packets), tier (1 byte, index into TIERS),
    buffer depth in chunks (1 byte), chunk_id (8 bytes), unix seconds of sending (float64).
    """

    chunk_id: int
    timestamp: float
    buffer_depth: int
    current_tier: str
    payload: bytes | memoryview = field(repr=False)
    format: int = FRAME_PCM

    def encode(self) -> bytes:
        """The frame's bytes."""
        header = _FRAME_HEADER.pack(
            FRAME_VERSION,
            self.format,
            TIERS.index(self.current_tier),
            min(self.buffer_depth, 255),
            self.chunk_id,
            self.timestamp,
        )
        return header + self.payload

    @classmethod
    def decode(cls, data: bytes) -> AudioFrame:
        """Read a frame.

        Raises:
            TruncatedError, UnknownVersionError, MessageError, FieldError: see errors.py.
        """
        if len(data) < FRAME_HEADER_BYTES:
            raise TruncatedError("audio frame", len(data), FRAME_HEADER_BYTES)
        version, format_, tier, depth, chunk_id, timestamp = _FRAME_HEADER.unpack_from(data)
        if version != FRAME_VERSION:
            raise UnknownVersionError("audio frame", version, FRAME_VERSION)
        if format_ not in (FRAME_PCM, FRAME_OPUS):
            raise FieldError("format", format_, "1 (s16le) or 2 (Opus)")
        if tier >= len(TIERS):
            raise FieldError("tier", tier, f"0 to {len(TIERS) - 1}")
        payload = memoryview(data)[FRAME_HEADER_BYTES:]
        if format_ == FRAME_PCM and len(payload) < CHUNK_BYTES:
            raise TruncatedError("audio frame", len(data), FRAME_HEADER_BYTES + CHUNK_BYTES)
        if format_ == FRAME_PCM and len(payload) > CHUNK_BYTES:
            raise MessageError(f"audio frame: got {len(payload)} bytes of PCM, expected {CHUNK_BYTES}")
        if chunk_id > MAX_TICK:
            raise FieldError("chunk_id", chunk_id, f"0 to {MAX_TICK}")
        if not math.isfinite(timestamp):
            raise FieldError("timestamp", timestamp, "a finite number")
        return cls(chunk_id, timestamp, depth, TIERS[tier], payload, format_)


# --- the payload of an Opus frame ------------------------------------------------------------------------------------

MAX_OPUS_PACKET_BYTES: Final = 1275
"""Longest packet of 20 ms (RFC 6716, 3.2.1)."""


def pack_opus(packets: Sequence[bytes], preroll: Sequence[bytes] = ()) -> bytes:
    """The payload of an Opus frame: five packets, preceded by pre-roll where the client needs a new decoder.

    Layout, little-endian: number of pre-roll packets (1 byte: 0 or 4), number of all packets (1 byte: 5 or 9), length
    of each packet (2 bytes), packets. A frame has pre-roll after a join, a splice or a resume: the client then decodes
    it with a new decoder and discards the sound of the pre-roll.
    """
    all_packets = (*preroll, *packets)
    lengths = struct.pack(f"<{len(all_packets)}H", *map(len, all_packets))
    return bytes((len(preroll), len(all_packets))) + lengths + b"".join(all_packets)


def unpack_opus(payload: bytes | memoryview) -> tuple[list[bytes], list[bytes]]:
    """Read a payload of `pack_opus`: (pre-roll, packets).

    Raises:
        TruncatedError, MessageError, FieldError: see errors.py.
    """
    if len(payload) < 2:
        raise TruncatedError("Opus payload", len(payload), 2)
    preroll, count = payload[0], payload[1]
    if preroll not in (0, OPUS_PREROLL_PACKETS):
        raise FieldError("preroll", preroll, f"0 or {OPUS_PREROLL_PACKETS} packets")
    if count != preroll + OPUS_PACKETS:
        raise FieldError("packets", count, f"{preroll + OPUS_PACKETS}: {OPUS_PACKETS} and the pre-roll")
    start = 2 + 2 * count
    if len(payload) < start:
        raise TruncatedError("Opus payload", len(payload), start)
    lengths = struct.unpack_from(f"<{count}H", payload, 2)
    if len(payload) != start + sum(lengths):
        raise MessageError(f"Opus payload: got {len(payload)} bytes, expected {start + sum(lengths)}")
    packets = []
    for length in lengths:
        if not 0 < length <= MAX_OPUS_PACKET_BYTES:
            raise FieldError("packet", length, f"1 to {MAX_OPUS_PACKET_BYTES} bytes")
        packets.append(bytes(payload[start : start + length]))
        start += length
    return packets[:preroll], packets[preroll:]
