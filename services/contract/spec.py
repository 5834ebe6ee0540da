"""The stream spec: the six values that decide every sample of a stream. Pure.

Equal specs are equal music. The canonical text of a spec (`StreamSpec.stream_id`, for example
`cs-dorian-70-50-drift-0`) is its address in subjects, metrics and URLs; a spec can be read back from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

from services.contract.errors import FieldError

KEYS: Final[Mapping[str, int]] = {
    "C": 0, "C#": 1, "D": 2, "D#": 3, "E": 4, "F": 5, "F#": 6, "G": 7, "G#": 8, "A": 9, "A#": 10, "B": 11,
}  # fmt: skip
"""Key names as they are shown -> pitch class, 0 (C) to 11 (B)."""

_FLATS: Final[Mapping[str, str]] = {
    "DB": "C#", "EB": "D#", "GB": "F#", "AB": "G#", "BB": "A#",
    "CB": "B", "FB": "E", "B#": "C", "E#": "F",
}  # fmt: skip

MODES: Final = ("ionian", "dorian", "phrygian", "lydian", "mixolydian", "aeolian", "locrian")
_MODE_ALIASES: Final[Mapping[str, str]] = {"major": "ionian", "minor": "aeolian"}

PRESETS: Final = (
    "drift",
    "aurora",
    "cathedral",
    "harbor",
    "lantern",
    "nocturne",
    "rainfall",
    "tundra",
)
"""Characters of sound; their definitions are in `services/synthesis/score`."""

MIN_BPM: Final = 40
MAX_BPM: Final = 180
INTENSITY_STEPS: Final = 20
"""Intensity has steps of 1/20 = 0.05."""
MAX_SEED: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One stream. Build it with `from_params` (from a client) or `from_id` (from an address).

    Attributes:
        key: a name of `KEYS`, with sharps; flats are accepted from clients and converted.
        mode: a name of `MODES`.
        bpm: beats per minute, whole, 40 to 180.
        intensity_steps: intensity in steps of 0.05, 0 to 20.
        preset: a name of `PRESETS`.
        seed: 0 to 2**32 - 1; 0 is the shared default.
    """

    key: str = "C"
    mode: str = "dorian"
    bpm: int = 70
    intensity_steps: int = 10
    preset: str = "drift"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.key not in KEYS:
            raise FieldError("key", self.key, f"one of {', '.join(KEYS)}")
        if self.mode not in MODES:
            raise FieldError("mode", self.mode, f"one of {', '.join(MODES)}")
        if self.preset not in PRESETS:
            raise FieldError("preset", self.preset, f"one of {', '.join(PRESETS)}")
        _check_int("bpm", self.bpm, MIN_BPM, MAX_BPM)
        _check_int("intensity_steps", self.intensity_steps, 0, INTENSITY_STEPS)
        _check_int("seed", self.seed, 0, MAX_SEED)

    @property
    def intensity(self) -> float:
        """0.0 to 1.0 in steps of 0.05."""
        return self.intensity_steps / INTENSITY_STEPS

    @property
    def pitch_class(self) -> int:
        """0 (C) to 11 (B)."""
        return KEYS[self.key]

    @property
    def stream_id(self) -> str:
        """The canonical text, of `[a-z0-9-]`: key-mode-bpm-intensity percent-preset-seed."""
        key = self.key.lower().replace("#", "s")
        percent = self.intensity_steps * (100 // INTENSITY_STEPS)
        return f"{key}-{self.mode}-{self.bpm}-{percent}-{self.preset}-{self.seed}"

    @classmethod
    def from_id(cls, stream_id: str) -> Self:
        """Read a spec back from its canonical text.

        Raises:
            FieldError: the text is not exactly what `stream_id` writes.
        """
        parts = stream_id.split("-")
        expected = "key-mode-bpm-intensity-preset-seed, for example 'c-dorian-70-50-drift-0'"
        if len(stream_id) > 80 or len(parts) != 6 or not stream_id.isascii():
            raise FieldError("stream", stream_id, expected)
        key, mode, bpm, percent, preset, seed = parts
        if not (bpm.isdigit() and percent.isdigit() and seed.isdigit()):
            raise FieldError("stream", stream_id, expected)
        steps, rest = divmod(int(percent), 100 // INTENSITY_STEPS)
        spec = cls(
            key=key.upper().replace("S", "#"),
            mode=mode,
            bpm=int(bpm),
            intensity_steps=steps,
            preset=preset,
            seed=int(seed),
        )
        # One stream has one address: '070' or '52' would be a second name for the same stream.
        if rest or spec.stream_id != stream_id:
            raise FieldError("stream", stream_id, f"its canonical form {spec.stream_id!r}")
        return spec

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        """Read a spec from a client's `params`; absent fields take their defaults.

        Unknown fields are ignored: the caller knows which other fields the message may have.

        Raises:
            FieldError: a value is of the wrong type or out of range; the field is named.
        """
        return cls().updated(params)

    def updated(self, params: Mapping[str, Any]) -> Self:
        """This spec with the given fields of `params` changed.

        Raises:
            FieldError: as `from_params`.
        """
        changes: dict[str, Any] = {}
        for name, read in _READERS.items():
            if name in params:
                changes[_FIELD_OF.get(name, name)] = read(params[name])
        return replace(self, **changes) if changes else self

    def to_params(self) -> dict[str, Any]:
        """The spec as a client writes it: key, mode, bpm, intensity, preset, seed."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        del values["intensity_steps"]
        values["intensity"] = self.intensity
        return {name: values[name] for name in _READERS}


def _check_int(field: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise FieldError(field, value, f"a whole number from {low} to {high}")


def _read_key(value: object) -> str:
    if isinstance(value, str) and 1 <= len(value) <= 2:
        # The first character is the letter, so a lone "♭" is not the key B.
        name = (value[0] + value[1:].replace("♯", "#").replace("♭", "b")).upper()
        name = _FLATS.get(name, name)
        if name in KEYS:
            return name
    raise FieldError("key", value, f"one of {', '.join(KEYS)} (or a flat: Db, Eb, Gb, Ab, Bb)")


def _read_mode(value: object) -> str:
    if isinstance(value, str):
        name = value.lower()
        name = _MODE_ALIASES.get(name, name)
        if name in MODES:
            return name
    raise FieldError("mode", value, f"one of {', '.join(MODES)} (or major, minor)")


def _read_preset(value: object) -> str:
    if isinstance(value, str) and value.lower() in PRESETS:
        return value.lower()
    raise FieldError("preset", value, f"one of {', '.join(PRESETS)}")


def _read_whole(field: str, value: object, low: int, high: int) -> int:
    # JSON has one number type, and JavaScript writes 70.0 as 70 but 70.5 as 70.5. The range comes first: it refuses
    # NaN and infinity, which have no int(), and an integer too large for a float.
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high and value == int(value):
        return int(value)
    raise FieldError(field, value, f"a whole number from {low} to {high}")


def _read_intensity(value: object) -> int:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        # Halves round up, so that 0.125 and 0.175 are both nearest above on every platform.
        return int(value * INTENSITY_STEPS + 0.5)
    raise FieldError("intensity", value, "a number from 0 to 1")


_READERS: Final[Mapping[str, Any]] = {
    "key": _read_key,
    "mode": _read_mode,
    "bpm": lambda value: _read_whole("bpm", value, MIN_BPM, MAX_BPM),
    "intensity": _read_intensity,
    "preset": _read_preset,
    "seed": lambda value: _read_whole("seed", value, 0, MAX_SEED),
}
_FIELD_OF: Final[Mapping[str, str]] = {"intensity": "intensity_steps"}

SPEC_FIELDS: Final = tuple(_READERS)
"""Names of the fields that a client may set, in canonical order."""
