"""Options that several commands of `auralis` share: the values of a stream, and a WAV file (shell)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from services.contract.errors import FieldError
from services.contract.spec import SENTENCES, SPEC_FIELDS, StreamSpec

OTHER_SOUND_FILES = (".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wma")


def wav_file[P: (str, Path, str | None)](_: click.Context, __: click.Parameter, value: P) -> P:
    """Refuse a file name whose suffix promises a format other than WAV."""
    if value is not None and Path(value).suffix.lower() in OTHER_SOUND_FILES:
        raise click.UsageError(
            f"{value}: got a name that ends in {Path(value).suffix}, expected one that ends in .wav, the format "
            "that is written; ffmpeg converts it to others"
        )
    return value


def _levels(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, float | str] | None:
    """`("pad=0.5", "air=0")` as `{"pad": 0.5, "air": 0.0}`; None for no values."""
    levels: dict[str, float | str] = {}
    for value in values:
        layer, _equals, level = value.partition("=")
        if layer in levels:
            raise click.UsageError(f"--level: got {layer} twice, expected each layer once")
        try:
            levels[layer] = float(level)
        except ValueError:
            # Left as text: the check of the spec names the range.
            levels[layer] = level
    return levels or None


def _seed(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    """A number where `value` is one; a title stays text, and the check of the spec reads it."""
    try:
        return None if value is None else int(value)
    except ValueError:
        return value


def spec_options[C: Callable[..., None]](command: C) -> C:
    """The values of a stream as options."""
    for option in reversed(
        (
            click.option("--key", metavar="NAME", help="C, C#, Db, … B."),
            click.option("--mode", metavar="NAME", help="ionian (major), dorian, … aeolian (minor), locrian."),
            click.option("--bpm", type=int, help="Beats per minute, 40 to 180."),
            click.option("--intensity", type=float, help="0 (sparse) to 1 (full)."),
            click.option(
                "--preset",
                metavar="NAME",
                help="\b\n" + "\n".join(f"{name}: {sentence}" for name, sentence in SENTENCES.items()),
            ),
            click.option(
                "--seed",
                metavar="NUMBER|TITLE",
                callback=_seed,
                help="Other music for each number; its title, 'Tranquil Pond', means the same. 0 is shared by default.",
            ),
            click.option("--brightness", type=float, help="0 (dark) to 1 (bright); 0.5 is the preset's own."),
            click.option("--density", type=float, help="0 (fewest notes) to 1 (all); 0.5 is what the intensity says."),
            click.option(
                "--texture",
                metavar="NAME",
                help="rain, sea, wind, fire, vinyl, insects or none; without it the preset's own.",
            ),
            click.option(
                "--level",
                "levels",
                metavar="LAYER=LEVEL",
                multiple=True,
                callback=_levels,
                help="Of drone, bass, pad, melody, shimmer, pulse or air (the texture): 0 (silent) to 1.5. "
                "Give it once a layer.",
            ),
        )
    ):
        command = option(command)
    return command


def read_spec(values: Mapping[str, Any]) -> StreamSpec:
    """The stream that the options of `spec_options` name.

    Raises:
        click.UsageError: a value is not valid; the option is named.
    """
    try:
        return StreamSpec.from_params({name: values[name] for name in SPEC_FIELDS if values[name] is not None})
    except FieldError as error:
        # The options are called "--level pad=2", where messages have "levels": {"pad": 2}.
        option = str(error).replace("levels:", "level:", 1).replace("level.", "level ", 1)
        raise click.UsageError(f"--{option}") from error
