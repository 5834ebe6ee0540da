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
MAX_UNIX_S: Final = 1e12
"""A later time is nonsense."""
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
        clock_s: unix seconds by its clock when it announced itself; None: an earlier worker, which does not say.
    """

    instance: str
    revision: str
    sound_version: int
    state: str
    capacity_streams: float
    mode: str
    device: str
    clock_s: float | None = None

    def encode(self) -> bytes:
        """The presence as JSON."""
        said = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps({"v": VERSION, **said}, separators=(",", ":")).encode()

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
            clock_s=None if value.get("clock_s") is None else take_number(value, "clock_s", 0, MAX_UNIX_S),
        )
