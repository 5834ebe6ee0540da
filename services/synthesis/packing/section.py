"""Pure. A section of the score, worked out for a stream's preset, intensity, brightness, density and levels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCK_FRAMES, BLOCKS_PER_SECTION
from services.synthesis.dsp.control import Column
from services.synthesis.dsp.grid import SPLIT_HZ, TOP_HZ
from services.synthesis.instruments.bank import Bank
from services.synthesis.packing.closed_form import closed_form_partials
from services.synthesis.packing.measured import measured_partials
from services.synthesis.packing.partials import LayerNotes, Partials, join_partials
from services.synthesis.packing.table import ONSET, Table, build_table
from services.synthesis.packing.tails import tails
from services.synthesis.score.events import Layer, Section, SectionChord
from services.synthesis.score.selection import played, reach
from services.synthesis.sound.loudness import gain as calibrated_gain
from services.synthesis.sound.parts import Part, Patch
from services.synthesis.sound.patches import SOUNDS


@dataclass(frozen=True, slots=True)
class PreparedSection:
    """A section of one stream as it is steered, ready to be packed.

    Attributes:
        low, high: partials below and above the split; the latter with their tails.
        air: float64 [241]: level of the texture at each second, the section's end included; the stream's own is in it.
        seeds: uint32 [3]: of the air's left and right channel, and of the dither.
        chords: as in `Section`.
        notes_sounding: mean number of notes that sound at the same time, their releases included.
    """

    low: Table
    high: Table
    air: NDArray[np.float64]
    seeds: NDArray[np.uint32]
    chords: tuple[SectionChord, ...]
    notes_sounding: float


def prepare_section(section: Section, spec: StreamSpec, bank: Bank) -> PreparedSection:
    """Work a section out for `spec`: every note that it plays becomes partials.

    Args:
        section: of the score.
        spec: the stream.
        bank: the measured instruments.
    """
    notes = _all_partials(section, spec, bank)
    partials = join_partials([notes, tails(notes, SOUNDS[spec.preset].room)])
    order = np.argsort(partials.words[:, ONSET], kind="stable")
    words, last_frame, hz = partials.words[order], partials.last_frame[order], partials.hz[order]
    below = hz < SPLIT_HZ
    above = (hz >= SPLIT_HZ) & (hz < TOP_HZ)
    high = words[above]
    # Their tails are there already.
    high[:, Column.GAIN_SEND] = 0
    return PreparedSection(
        low=build_table(words[below], last_frame[below]),
        high=build_table(high, last_frame[above]),
        air=np.interp(np.arange(BLOCKS_PER_SECTION + 1), section.air_s, section.air_level) * spec.levels["air"],
        seeds=np.array(_stream_seeds(spec), dtype=np.uint32),
        chords=section.chords,
        notes_sounding=partials.note_seconds / BLOCKS_PER_SECTION,
    )


def _all_partials(section: Section, spec: StreamSpec, bank: Bank) -> Partials:
    notes, sound = section.notes, SOUNDS[spec.preset]
    # The gain for as many notes as are played: fewer notes are not quieter. Levels come on top of it.
    loudness = calibrated_gain(spec.preset, spec.intensity, reach(spec))
    levels, heard = spec.levels, played(notes, spec)
    first_frame = section.number * BLOCKS_PER_SECTION * BLOCK_FRAMES
    seed = _stream_seeds(spec)[0]
    found: list[Partials] = []
    for layer in Layer:
        chosen = np.flatnonzero((notes.layer == layer) & heard)
        if len(chosen):
            mix = loudness * 10.0 ** (sound.mix_db.get(layer, 0.0) / 20.0) * levels[layer.name.lower()]
            own = LayerNotes(
                notes.take(chosen),
                layer,
                spec.intensity,
                spec.brightness,
                mix,
                first_frame,
                seed,
                ebb_db=sound.ebb_db.get(layer, 0.0),
            )
            found += _parts(own, sound.layers[layer], bank)
    return join_partials(found)


def _parts(played: LayerNotes, parts: Sequence[Part | Patch], bank: Bank) -> list[Partials]:
    """What each of the `parts` makes of a layer. They play the same notes, which count once."""
    found = []
    for place, part in enumerate(parts):
        own = replace(played, turn=place / len(parts))
        made = measured_partials(own, part, bank) if isinstance(part, Part) else closed_form_partials(own, part)
        found.append(replace(made, note_seconds=made.note_seconds / len(parts)))
    return found


def _stream_seeds(spec: StreamSpec) -> tuple[int, int, int]:
    """Three 32-bit seeds of a stream's noise. Steering the rest of the spec keeps the noise."""
    text = f"{spec.key}-{spec.mode}-{spec.preset}-{spec.seed}"
    digest = hashlib.sha256(text.encode()).digest()
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in (0, 4, 8))  # type: ignore[return-value]  # three
