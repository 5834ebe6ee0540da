"""The protocol of a connection, without the connection: messages in, events out. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from services.contract.errors import FieldError, MessageError, TruncatedError
from services.contract.messages import read_object, take_int, take_number, take_text
from services.contract.spec import MAX_ID_CHARS, SPEC_FIELDS, StreamSpec
from services.contract.timebase import CHUNK_BYTES, MAX_TICK
from services.contract.websocket import FRAME_OPUS, JSON_V1, OPUS_V1, PCM_V1, TIERS, AudioFrame, CloseCode

if TYPE_CHECKING:
    from services.client.opus import OpusDecoder

Format = Literal["opus", "pcm", "json"]

MAX_MESSAGE_BYTES: Final = 65_536
"""An audio message has at most 24 KB; a much longer message is not from an edge."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """100 ms of sound.

    Attributes:
        chunk_id: its tick.
        pcm: 17,640 bytes of s16le stereo at 44.1 kHz.
        buffer_depth: chunks that this listener holds by the edge's estimate, this one included; 0 after an underrun.
        tier: the listener's buffer tier.
        sent_unix_s: when the edge sent it, by the edge's clock.
        received_unix_s, received_s: when it arrived, by this machine's wall clock and by its monotonic clock.
    """

    chunk_id: int
    pcm: bytes = field(repr=False)
    buffer_depth: int
    tier: str
    sent_unix_s: float
    received_unix_s: float
    received_s: float


@dataclass(frozen=True, slots=True)
class Hello:
    """The edge's greeting, sent again when the stream or the resume token has changed.

    Attributes:
        spec: the stream.
        chunk_id: the next chunk.
        recovered: after a resume, whether the stream goes on without gap or repeat; None: nothing was resumed.
        fields: the whole message.
    """

    spec: StreamSpec
    chunk_id: int
    recovered: bool | None
    fields: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Status:
    """The state of the stream.

    Attributes:
        state: "warming", "playing", "degraded", "skipped" or "draining".
        fields: the whole message.
        moved: by how much larger the ids of chunks are from here on, because the edge's clock was set.
    """

    state: str
    fields: Mapping[str, Any] = field(repr=False)
    moved: int = 0


@dataclass(frozen=True, slots=True)
class Splice:
    """Chunks from `chunk_id` on are void and are sent again, as the stream `spec`."""

    chunk_id: int
    spec: StreamSpec


@dataclass(frozen=True, slots=True)
class ServerError:
    """The edge did not accept a message; the stream goes on."""

    code: int
    message: str
    field: str | None


Event = Chunk | Hello | Status | Splice | ServerError


class Session:
    """A listener's side of the protocol, over any number of connections.

    Args:
        spec: the first stream.
        format: "opus" or "pcm" (both in binary frames), or "json".
        events: ask for `hello`, `status` and `splice`; binary formats always bring them.

    Attributes:
        spec: the stream that was requested last.
        format, events: as given.
        resume: the newest resume token; None before the first.
        unknown_messages: messages of a kind that this build does not know; they are counted and skipped.
    """

    def __init__(self, spec: StreamSpec, *, format: Format = "pcm", events: bool = True) -> None:  # noqa: A002 - as in the public Client
        self.spec = spec
        self.format = format
        self.events = events or format != "json"
        self._opus: OpusDecoder | None = None
        self.resume: str | None = None
        self.unknown_messages = 0

    @property
    def subprotocols(self) -> list[str]:
        """WebSocket subprotocols to offer; none for JSON without events."""
        if self.format == "opus":
            return [OPUS_V1]
        if self.format == "pcm":
            return [PCM_V1]
        return [JSON_V1] if self.events else []

    def start_message(self, next_chunk_id: int | None = None) -> str:
        """The first message of a connection; resumes if there is a token.

        Args:
            next_chunk_id: the first chunk that has not arrived; None before the first chunk.
        """
        params = self.spec.to_request()
        if self.resume is not None:
            params["resume"] = self.resume
            if next_chunk_id is not None:
                params["chunk_id"] = next_chunk_id
        return _control("start", params)

    def update_message(self, params: Mapping[str, Any]) -> str:
        """Change some fields of the stream.

        Raises:
            FieldError: the edge would refuse a value.
        """
        for name in params:
            if name not in SPEC_FIELDS:
                raise FieldError(name, params[name], f"only {', '.join(SPEC_FIELDS)}")
        self.spec = self.spec.updated(params)
        return _control("update", params)

    @staticmethod
    def stop_message() -> str:
        """The last message; the edge answers by closing the connection."""
        return json.dumps({"type": "control", "action": "stop"})

    @staticmethod
    def report_message(*, chunk_id: int, buffer_ms: float, underruns: int, jitter_ms: float) -> str:
        """A report of the player's state, by which the edge chooses the tier."""
        return json.dumps(
            {
                "type": "report",
                "chunk_id": chunk_id,
                "buffer_ms": round(buffer_ms, 1),
                "underruns": underruns,
                "jitter_ms": round(jitter_ms, 2),
            }
        )

    def receive(self, data: str | bytes, *, now_s: float, now_unix_s: float) -> Event | None:
        """Read one message.

        Returns:
            Its event; None for a message of an unknown kind, which is counted.

        Raises:
            ContractError: no edge sends such a message.
        """
        if isinstance(data, bytes):
            return self._receive_frame(data, now_s, now_unix_s)
        value = read_object("message from the edge", data, limit_bytes=MAX_MESSAGE_BYTES)
        match value.get("type"):
            case "audio":
                return _read_audio(value, now_s, now_unix_s)
            case "hello":
                return self._receive_hello(value)
            case "status":
                self._take_token(value)
                return Status(take_text(value, "state"), value, _moved(value))
            case "splice":
                spec = StreamSpec.from_id(take_text(value, "stream_id", MAX_ID_CHARS))
                self.spec = spec
                if self._opus is not None:
                    self._opus.splice()
                return Splice(take_int(value, "chunk_id", 0, MAX_TICK), spec)
            case "error":
                field_name = value.get("field")
                return ServerError(
                    take_int(value, "code", 0, 9999),
                    take_text(value, "message", 4000),
                    field_name if isinstance(field_name, str) else None,
                )
            case _:
                self.unknown_messages += 1
                return None

    def _receive_frame(self, data: bytes, now_s: float, now_unix_s: float) -> Chunk | None:
        frame = AudioFrame.decode(data)
        if (frame.format == FRAME_OPUS) != (self.format == "opus"):
            # Another format than the one requested cannot be played.
            self.unknown_messages += 1
            return None
        if frame.format == FRAME_OPUS:
            if self._opus is None:
                from services.client.opus import OpusDecoder  # noqa: PLC0415 - most clients need no codec

                self._opus = OpusDecoder()
            pcm = self._opus.decode(frame.chunk_id, frame.payload)
        else:
            pcm = bytes(frame.payload)
        return Chunk(
            frame.chunk_id,
            pcm,
            frame.buffer_depth,
            frame.current_tier,
            frame.timestamp,
            now_unix_s,
            now_s,
        )

    def closed(self, code: int | None, reason: str) -> None:
        """The connection has ended; a draining edge gives the last token as the reason."""
        if code == CloseCode.RESTART and reason:
            self.resume = reason

    def _take_token(self, value: Mapping[str, Any]) -> None:
        token = value.get("resume")
        if isinstance(token, str) and token:
            self.resume = token

    def _receive_hello(self, value: Mapping[str, Any]) -> Hello:
        self._take_token(value)
        fields = dict(value)
        spec = StreamSpec.from_id(take_text(fields, "stream_id", MAX_ID_CHARS))
        recovered = value.get("recovered")
        return Hello(
            spec, take_int(fields, "chunk_id", 0, MAX_TICK), recovered if isinstance(recovered, bool) else None, fields
        )


def _moved(status: dict[str, Any]) -> int:
    if status.get("reason") != "clock":
        return 0
    return take_int(status, "to_chunk_id", 0, MAX_TICK) - take_int(status, "from_chunk_id", 0, MAX_TICK)


def _control(action: str, params: Mapping[str, Any]) -> str:
    return json.dumps({"type": "control", "action": action, "params": dict(params)})


def _read_audio(value: dict[str, Any], now_s: float, now_unix_s: float) -> Chunk:
    data = value.get("data")
    if not isinstance(data, str):
        raise FieldError("data", data, "base64 text")
    try:
        pcm = base64.b64decode(data, validate=True)
    except ValueError as error:
        # binascii.Error is a ValueError; text that is not ASCII raises a plain one.
        raise MessageError(f"audio: data is not base64 ({error})") from error
    if len(pcm) != CHUNK_BYTES:
        raise TruncatedError("audio", len(pcm), CHUNK_BYTES)
    tier = take_text(value, "current_tier")
    if tier not in TIERS:
        raise FieldError("current_tier", tier, f"one of {', '.join(TIERS)}")
    return Chunk(
        chunk_id=take_int(value, "chunk_id", 0, MAX_TICK),
        pcm=pcm,
        buffer_depth=take_int(value, "buffer_depth", 0, 1000),
        tier=tier,
        sent_unix_s=take_number(value, "timestamp", 0, 1e12),
        received_unix_s=now_unix_s,
        received_s=now_s,
    )
