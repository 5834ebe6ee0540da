"""Pure, but for what it keeps. Compose a section, and keep the ones in use."""

from __future__ import annotations

import math
from collections import OrderedDict
from threading import Lock
from typing import Final

from services.contract.spec import MODES, PRESETS, StreamSpec
from services.contract.timebase import SECTION_S
from services.synthesis.score.events import Notes, Section, SectionChord
from services.synthesis.score.form import Passage, bar_of, passages_between
from services.synthesis.score.harmony import warm
from services.synthesis.score.layers.air import air_curve
from services.synthesis.score.layers.bass import write_bass, write_drone
from services.synthesis.score.layers.melody import write_melody
from services.synthesis.score.layers.pad import write_pad
from services.synthesis.score.layers.pulse import write_pulse
from services.synthesis.score.layers.shimmer import write_arrival, write_shimmer
from services.synthesis.score.plan import Plan, plan_passage
from services.synthesis.score.presets import SCORE_PRESETS
from services.synthesis.score.writing import Harmony, Sheet, join

_ROUNDING_S: Final = 1e-6
"""A chord this close to a section's start begins with it."""


def compose_section(spec: StreamSpec, section: int) -> Section:
    """The notes, chords and air of one section; equal for equal arguments, on every machine.

    It does not read intensity, density or levels: `selection.played` selects notes afterwards. A section is a stretch
    of computation: the passages of the music (`form`) overlap it, and it has the notes that begin in it.

    Args:
        spec: the stream.
        section: its number since the epoch (`block // 240`).
    """
    begin_ms, first_bar = section * SECTION_S * 1000, section * spec.bpm
    # Borders move to the nearest bar, so a passage may reach half a bar further than its milliseconds say.
    stray_ms = math.ceil(SECTION_S * 1000 / spec.bpm)
    parts: list[tuple[Notes, float]] = []
    chords: list[SectionChord] = []
    for passage in passages_between(spec.seed, begin_ms - stray_ms, begin_ms + SECTION_S * 1000 + stray_ms):
        begin_s = (bar_of(passage.begin_ms, spec.bpm) - first_bar) * SECTION_S / spec.bpm
        plan = plan_passage(spec, passage, (-begin_s, SECTION_S - begin_s))
        parts.append((_write(plan), begin_s))
        chords += [SectionChord(chord.begin_s + begin_s, chord.name) for chord in plan.chords]
    air_s, air_level = air_curve(SCORE_PRESETS[spec.preset].air, spec, section)
    return Section(number=section, notes=join(parts), chords=_within(chords), air_s=air_s, air_level=air_level)


def compose_passage(spec: StreamSpec, passage: Passage) -> Notes:
    """All notes of a passage; onsets are seconds from its first bar."""
    return _write(plan_passage(spec, passage))


def _write(plan: Plan) -> Notes:
    sheet = Sheet(plan.length_s)
    write_drone(sheet, plan)
    write_bass(sheet, plan)
    write_pad(sheet, plan)
    write_melody(sheet, plan)
    write_shimmer(sheet, plan)
    write_arrival(sheet, plan)
    write_pulse(sheet, plan)
    begins_s = [*(chord.begin_s for chord in plan.chords), plan.length_s]
    tones = [*(frozenset(chord.classes) for chord in plan.chords), plan.next_classes]
    absolute = [frozenset((pitch_class + plan.tonic_midi) % 12 for pitch_class in classes) for classes in tones]
    absolute[-1] |= plan.next_drone
    return sheet.notes(plan.own, Harmony(begins_s, absolute))


def _within(chords: list[SectionChord]) -> tuple[SectionChord, ...]:
    """The chords of a section: the one that holds as it begins, moved to 0, and those that begin in it."""
    held = [chord for chord in chords if chord.onset_s <= _ROUNDING_S]
    begun = [chord for chord in chords if _ROUNDING_S < chord.onset_s < SECTION_S - _ROUNDING_S]
    return (SectionChord(0.0, held[-1].name), *begun)


def prepare() -> None:
    """Work out the voicings of all modes, presets and keys (about two seconds), so that no block waits for one."""
    for preset in PRESETS:
        for mode in MODES:
            warm(preset, mode)


class SectionCache:
    """Composed sections, at most `max_sections`; the least recently used one is dropped first.

    Streams that differ only in what selects and colours notes afterwards share their sections. Threads may share the
    cache.

    Attributes:
        hits, misses, evictions: counts since it was made.
    """

    def __init__(self, max_sections: int) -> None:
        if max_sections < 1:
            raise ValueError(f"max_sections: got {max_sections}, expected 1 or more")
        self.hits = 0
        self.misses = 0
        self.evictions = 0
        self._max_sections = max_sections
        self._sections: OrderedDict[tuple[StreamSpec, int], Section] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._sections)

    def get(self, spec: StreamSpec, section: int) -> Section:
        """The section, composed if it is not kept.

        Args:
            spec: the stream.
            section: its number since the epoch.
        """
        key = (StreamSpec(spec.key, spec.mode, spec.bpm, 0, spec.preset, spec.seed), section)
        with self._lock:
            found = self._sections.get(key)
            if found is not None:
                self.hits += 1
                self._sections.move_to_end(key)
                return found
        composed = compose_section(key[0], section)
        with self._lock:
            self.misses += 1
            self._sections[key] = composed
            self._sections.move_to_end(key)
            while len(self._sections) > self._max_sections:
                self._sections.popitem(last=False)
                self.evictions += 1
        return composed
