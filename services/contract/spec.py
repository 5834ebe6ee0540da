"""The stream spec: the values that decide every sample of a stream. Pure.

Equal specs are equal music. The canonical text of a spec (`StreamSpec.stream_id`, for example
`cs-dorian-70-50-drift-0`) is its address in subjects, metrics and URLs; a spec can be read back from it. Brightness,
density, texture and levels are in the address only where they are not at their default, numbers as percentages, in this
order: `cs-dorian-70-50-drift-0-b70-d30-train-pad0` (the texture is rain). A seed also has a title, which people may
write in its place (`titles`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from services.contract import titles
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

SENTENCES: Final[Mapping[str, str]] = {
    "drift": "A harp in front of strings that come and go like long waves.",
    "aurora": "Bowed glass that turns slowly like light in the sky, and a flute far above it.",
    "cathedral": "Strings, low horns and a choir in a great room of stone.",
    "harbor": "Horns and a clarinet by the sea, and a guitar that is plucked low.",
    "lantern": "A music box and a harp, small and close, over soft voices.",
    "nocturne": "An electric piano late at night, dark and close, with insects outside.",
    "rainfall": "A kalimba and a piano over quiet strings, in steady rain.",
    "tundra": "A lone piano, wide strings far away, and a cold, strong wind.",
}
"""What each preset is, for listeners; a character of sound, defined in `services/synthesis`."""
PRESETS: Final = tuple(SENTENCES)

MIN_BPM: Final = 40
MAX_BPM: Final = 180
INTENSITY_STEPS: Final = 20
"""Intensity has steps of 1/20 = 0.05."""
MAX_SEED: Final = titles.MAX_SEED

CONTROL_STEPS: Final = 20
"""Brightness and density are heard in steps of 1/20 = 0.05; the middle one is the default."""
LAYERS: Final = ("drone", "bass", "pad", "melody", "shimmer", "pulse", "air")
"""What a stream's music is made of; each has a level."""
LEVEL_NAMES: Final[Mapping[str, str]] = {**{layer: layer for layer in LAYERS}, "texture": "air"}
"""Names of levels that a client may use -> the layer: the air is the texture."""
LEVEL_STEPS: Final = 10
"""Levels are heard in steps of 1/10 = 0.1; 1 is the default."""
MAX_LEVEL: Final = 1.5
OWN_TEXTURE: Final = "preset"
"""The default: the texture that the preset has."""
NO_TEXTURE: Final = "none"
TEXTURES: Final = (OWN_TEXTURE, "rain", "sea", "wind", "fire", "vinyl", "insects", NO_TEXTURE)
"""What may be heard around the music; its level is that of the layer `air`."""
_MAX_LEVEL_STEPS: Final = round(MAX_LEVEL * LEVEL_STEPS)

MAX_ID_CHARS: Final = 160
"""No stream id is longer."""

_MIDDLE: Final = CONTROL_STEPS // 2
_PRESET_LEVELS: Final = (LEVEL_STEPS,) * len(LAYERS)
_BRIGHTNESS_TAG: Final = "b"
_DENSITY_TAG: Final = "d"
_TEXTURE_TAG: Final = "t"
_TEXTURE_WORDS: Final[Mapping[str, str]] = {f"{_TEXTURE_TAG}{kind}": kind for kind in TEXTURES if kind != OWN_TEXTURE}
"""In an address -> in a spec: a word without a number."""
_ID: Final = re.compile(
    r"([a-z]{1,2})-([a-z]+)-([0-9]+)-([0-9]+)-([a-z]+)-([0-9]+|[a-z]+-[a-z]+(?:-[0-9]+)?)"
    r"((?:-[a-z]+[0-9]*)*)"
)
_OPTION: Final = re.compile(r"-([a-z]+)([0-9]*)")
_ID_FORM: Final = "key-mode-bpm-intensity-preset-seed, for example 'c-dorian-70-50-drift-0' or '…-0-b70-train-pad0'"


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
        brightness_steps: brightness in steps of 0.05, 0 to 20; 10 is the sound as the preset has it.
        density_steps: density in steps of 0.05, 0 to 20: how many of the written notes are heard at this intensity.
        texture: a name of `TEXTURES`.
        level_steps: level of each of LAYERS in steps of 0.1, 0 (silent) to 15; 10 is the preset's own balance.
    """

    key: str = "C"
    mode: str = "dorian"
    bpm: int = 70
    intensity_steps: int = 10
    preset: str = "drift"
    seed: int = 0
    brightness_steps: int = _MIDDLE
    density_steps: int = _MIDDLE
    texture: str = OWN_TEXTURE
    level_steps: tuple[int, ...] = _PRESET_LEVELS

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
        _check_int("brightness_steps", self.brightness_steps, 0, CONTROL_STEPS)
        _check_int("density_steps", self.density_steps, 0, CONTROL_STEPS)
        if self.texture not in TEXTURES:
            raise FieldError("texture", self.texture, f"one of {', '.join(TEXTURES)}")
        if self.level_steps is not _PRESET_LEVELS:
            if type(self.level_steps) is not tuple or len(self.level_steps) != len(LAYERS):
                raise FieldError("level_steps", self.level_steps, f"a tuple of {len(LAYERS)} whole numbers")
            for layer, steps in zip(LAYERS, self.level_steps, strict=True):
                _check_int(f"level.{layer}", steps, 0, _MAX_LEVEL_STEPS)

    @property
    def intensity(self) -> float:
        """0.0 to 1.0 in steps of 0.05."""
        return self.intensity_steps / INTENSITY_STEPS

    @property
    def brightness(self) -> float:
        """0.0 (dark) to 1.0 (bright) in steps of 0.05; 0.5 is the preset's own."""
        return self.brightness_steps / CONTROL_STEPS

    @property
    def density(self) -> float:
        """0.0 (sparse) to 1.0 (every note) in steps of 0.05; 0.5 is what the intensity says."""
        return self.density_steps / CONTROL_STEPS

    @property
    def levels(self) -> dict[str, float]:
        """0.0 (silent) to 1.5 for each of LAYERS; 1.0 is the preset's own balance."""
        return {layer: steps / LEVEL_STEPS for layer, steps in zip(LAYERS, self.level_steps, strict=True)}

    @property
    def pitch_class(self) -> int:
        """0 (C) to 11 (B)."""
        return KEYS[self.key]

    @property
    def title(self) -> str:
        """The piece's name, which the seed alone decides: "Tranquil Pond"."""
        return titles.title_of_seed(self.seed)

    @property
    def stream_id(self) -> str:
        """The canonical text, of `[a-z0-9-]`: key-mode-bpm-intensity percent-preset-seed, and optional parts."""
        key = self.key.lower().replace("#", "s")
        percent = self.intensity_steps * (100 // INTENSITY_STEPS)
        text = f"{key}-{self.mode}-{self.bpm}-{percent}-{self.preset}-{self.seed}"
        # Edges write addresses often, and most have no optional part.
        if self.brightness_steps != _MIDDLE:
            text += f"-{_BRIGHTNESS_TAG}{self.brightness_steps * (100 // CONTROL_STEPS)}"
        if self.density_steps != _MIDDLE:
            text += f"-{_DENSITY_TAG}{self.density_steps * (100 // CONTROL_STEPS)}"
        if self.texture != OWN_TEXTURE:
            text += f"-{_TEXTURE_TAG}{self.texture}"
        if self.level_steps != _PRESET_LEVELS:
            for layer, steps in zip(LAYERS, self.level_steps, strict=True):
                if steps != LEVEL_STEPS:
                    text += f"-{layer}{steps * (100 // LEVEL_STEPS)}"
        return text

    @classmethod
    def from_id(cls, stream_id: str) -> Self:
        """Read a spec back from its canonical text, in which the seed's title may stand for its number.

        Raises:
            FieldError: the text is not exactly what `stream_id` writes, the seed's title aside.
        """
        match = _ID.fullmatch(stream_id) if len(stream_id) <= MAX_ID_CHARS else None
        if match is None:
            raise FieldError("stream", stream_id, _ID_FORM)
        key, mode, bpm, percent, preset, seed, options = match.groups()
        spec = cls(
            key=key.upper().replace("S", "#"),
            mode=mode,
            bpm=int(bpm),
            intensity_steps=int(percent) * INTENSITY_STEPS // 100,
            preset=preset,
            seed=int(seed) if seed.isdigit() else titles.seed_of_title(seed),
            **_read_options(stream_id, options),
        )
        numbered = stream_id if seed.isdigit() else stream_id.replace(seed, str(spec.seed), 1)
        # One stream has one address: '070', '52' or 'b50' would be a second name for the same stream.
        if spec.stream_id != numbered:
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
        """This spec with the given fields of `params` changed; of `levels`, the layers that it names.

        Raises:
            FieldError: as `from_params`.
        """
        changes: dict[str, Any] = {}
        for name, read in _READERS.items():
            if name in params:
                changes[_FIELD_OF.get(name, name)] = read(params[name])
        if "levels" in params:
            named = _read_levels(params["levels"])
            changes["level_steps"] = tuple(
                named.get(layer, steps) for layer, steps in zip(LAYERS, self.level_steps, strict=True)
            )
        return replace(self, **changes) if changes else self

    def to_params(self) -> dict[str, Any]:
        """The spec as it is shown to a client: each of SPEC_FIELDS."""
        return {name: getattr(self, name) for name in SPEC_FIELDS}

    def to_request(self) -> dict[str, Any]:
        """The spec as a client would ask for it: optional fields, and layers, only where they are not at default.

        So a client that uses no optional field asks as it always did, and an older edge understands it.
        """
        params = self.to_params()
        for name in _OPTIONAL_FIELDS:
            if params[name] == getattr(_DEFAULT, name):
                del params[name]
        params["levels"] = {layer: level for layer, level in params["levels"].items() if level != 1.0}
        if not params["levels"]:
            del params["levels"]
        return params

    def options_in_words(self) -> list[str]:
        """The optional fields that are not at their default, for people: "density 0.7", "rain", "no pad", "air 1.5"."""
        options = self.to_request()
        words = [f"{name} {options[name]:g}" for name in ("brightness", "density") if name in options]
        if self.texture != OWN_TEXTURE:
            words.append("no texture" if self.texture == NO_TEXTURE else self.texture)
        return words + [
            f"{layer} {level:g}" if level else f"no {layer}" for layer, level in options.get("levels", {}).items()
        ]


def _check_int(field: str, value: object, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise FieldError(field, value, f"a whole number from {low} to {high}")


def _read_options(stream_id: str, text: str) -> dict[str, Any]:
    """Fields of the spec that the optional parts of an address name."""
    if not text:
        return {}
    options = _OPTION.findall(text)
    percent = {tag: int(digits) for tag, digits in options if digits}
    words = {word for word, digits in options if not digits}
    unknown = (percent.keys() - {_BRIGHTNESS_TAG, _DENSITY_TAG, *LAYERS}) | (words - _TEXTURE_WORDS.keys())
    if unknown:
        raise FieldError("stream", stream_id, f"no {min(unknown)!r} after the seed")
    return {
        "brightness_steps": percent.get(_BRIGHTNESS_TAG, 50) * CONTROL_STEPS // 100,
        "density_steps": percent.get(_DENSITY_TAG, 50) * CONTROL_STEPS // 100,
        "texture": next((kind for word, kind in _TEXTURE_WORDS.items() if word in words), OWN_TEXTURE),
        "level_steps": tuple(percent.get(layer, 100) * LEVEL_STEPS // 100 for layer in LAYERS),
    }


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


def _read_texture(value: object) -> str:
    if isinstance(value, str) and value.lower() in TEXTURES:
        return value.lower()
    raise FieldError("texture", value, f"one of {', '.join(TEXTURES)}")


def _read_whole(field: str, value: object, low: int, high: int) -> int:
    # JSON has one number type, and JavaScript writes 70.0 as 70 but 70.5 as 70.5. The range comes first: it refuses
    # NaN and infinity, which have no int(), and an integer too large for a float.
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high and value == int(value):
        return int(value)
    raise FieldError(field, value, f"a whole number from {low} to {high}")


def _read_seed(value: object) -> int:
    if isinstance(value, str):
        return titles.seed_of_title(value)
    try:
        return _read_whole("seed", value, 0, MAX_SEED)
    except FieldError as error:
        raise FieldError("seed", value, titles.EXPECTED) from error


def _read_steps(field: str, value: object, high: float, steps: int) -> int:
    """`value`, a number from 0 to `high`, in `steps` for each 1."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= high:
        # Halves round up, so that 0.125 and 0.175 are both nearest above on every platform.
        return int(value * steps + 0.5)
    raise FieldError(field, value, f"a number from 0 to {high:g}")


def _read_levels(value: object) -> dict[str, int]:
    """Steps for each layer that `value` names, also by its other name."""
    if not isinstance(value, Mapping):
        raise FieldError("levels", value, 'an object such as {"pad": 0.5}')
    found: dict[str, int] = {}
    for name, level in value.items():
        layer = LEVEL_NAMES.get(name)
        if layer is None:
            raise FieldError("levels", name, f"only {', '.join(LAYERS)} (or texture, which is air)")
        if layer in found:
            raise FieldError("levels", name, f"{layer} once, by one of its names")
        found[layer] = _read_steps(f"level.{name}", level, MAX_LEVEL, LEVEL_STEPS)
    return found


_READERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "key": _read_key,
    "mode": _read_mode,
    "bpm": lambda value: _read_whole("bpm", value, MIN_BPM, MAX_BPM),
    "intensity": lambda value: _read_steps("intensity", value, 1, INTENSITY_STEPS),
    "preset": _read_preset,
    "seed": _read_seed,
    "brightness": lambda value: _read_steps("brightness", value, 1, CONTROL_STEPS),
    "density": lambda value: _read_steps("density", value, 1, CONTROL_STEPS),
    "texture": _read_texture,
}
_FIELD_OF: Final[Mapping[str, str]] = {
    "intensity": "intensity_steps",
    "brightness": "brightness_steps",
    "density": "density_steps",
}

SPEC_FIELDS: Final = (*_READERS, "levels")
"""Names of the fields that a client may set, in canonical order."""

_OPTIONAL_FIELDS: Final = ("brightness", "density", "texture")
_DEFAULT: Final = StreamSpec()
