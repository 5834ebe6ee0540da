"""Pure, but for what it keeps. Compose a section, and keep the ones in use."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

from services.contract.spec import MODES, PRESETS, StreamSpec
from services.synthesis.score.events import Section, SectionChord
from services.synthesis.score.harmony import chord_table
from services.synthesis.score.layers.air import air_curve
from services.synthesis.score.layers.bass import write_bass, write_drone
from services.synthesis.score.layers.melody import write_melody
from services.synthesis.score.layers.pad import write_pad
from services.synthesis.score.layers.pulse import write_pulse
from services.synthesis.score.layers.shimmer import write_arrival, write_shimmer
from services.synthesis.score.plan import plan_section
from services.synthesis.score.writing import Sheet


def compose_section(spec: StreamSpec, section: int) -> Section:
    """The notes, chords and air of one section; equal for equal arguments, on every machine.

    It does not read intensity, density or levels: `selection.played` selects notes afterwards.

    Args:
        spec: the stream.
        section: its number since the epoch (`block // 240`).
    """
    plan = plan_section(spec, section)
    sheet = Sheet()
    write_drone(sheet, plan, spec.mode)
    write_bass(sheet, plan, spec.mode)
    write_pad(sheet, plan)
    write_melody(sheet, plan)
    write_shimmer(sheet, plan)
    write_arrival(sheet, plan)
    write_pulse(sheet, plan)
    air_s, air_level = air_curve(plan, spec.seed, section)
    return Section(
        number=section,
        notes=sheet.notes(plan.transpose, plan.form.own),
        chords=tuple(SectionChord(chord.begin_s, chord.name) for chord in plan.chords),
        air_s=air_s,
        air_level=air_level,
    )


def prepare() -> None:
    """Build the chord tables of all modes and presets (about a second), so that no block waits for one."""
    for preset in PRESETS:
        for mode in MODES:
            chord_table(mode, preset)


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
