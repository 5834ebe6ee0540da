"""What a synthesis worker announces once a second: its revision, state and capacity. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final, Self

from services.contract.errors import FieldError
from services.contract.messages import read_versioned, take_int, take_number, take_text
from services.contract.subjects import render_filter

VERSION: Final = 1
MAX_BYTES: Final = 1024
INTERVAL_S: Final = 1.0
"""Seconds between two announcements of a worker."""
GONE_AFTER_S: Final = 5.0
"""Seconds of silence after which a worker counts as gone."""

STATES: Final = ("warming", "ready", "draining")


@dataclass(frozen=True, slots=True)
class Presence:
    """One announcement.

    Attributes:
        instance: the worker's name, unique in the fleet.
        revision: its render revision; blocks of two revisions do not join.
        sound_version: orders revisions: edges move to the highest (sound_version, revision).
        state: "warming", "ready" or "draining".
        capacity_streams: streams that it can render in real time, as measured.
        mode: "compiled" or "eager".
        device: "cpu", "cuda" or "mps".
    """

    instance: str
    revision: str
    sound_version: int
    state: str
    capacity_streams: float
    mode: str
    device: str

    def encode(self) -> bytes:
        """The presence as JSON."""
        return json.dumps({"v": VERSION, **asdict(self)}, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a presence; fields of later builds are ignored.

        Raises:
            UnknownVersionError, MessageError, FieldError: see errors.py.
        """
        value = read_versioned("presence", data, version=VERSION, limit_bytes=MAX_BYTES)
        state = take_text(value, "state")
        if state not in STATES:
            raise FieldError("state", state, f"one of {', '.join(STATES)}")
        revision = take_text(value, "revision", 16)
        try:
            render_filter(revision, "now")
        except ValueError:
            raise FieldError("revision", revision, "1 to 16 characters of [a-z0-9-]") from None
        return cls(
            instance=take_text(value, "instance"),
            revision=revision,
            sound_version=take_int(value, "sound_version", 0, 2**31),
            state=state,
            capacity_streams=take_number(value, "capacity_streams", 0, 1e9),
            mode=take_text(value, "mode", 20),
            device=take_text(value, "device", 40),
        )
