"""What is measured of whom: one function for each area of the table (shell: it renders by way of the studio)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

from benchmarks.music_report import air, dynamics, ear, low_end, peers, recognition, score_rows, space, tone
from benchmarks.music_report.controls import CONTROLS, LAYER_ROWS, muting, onsets
from benchmarks.music_report.results import ALL, PEER, PRESET, Results
from benchmarks.music_report.sound import Sound, join, read_wav, write_wav
from benchmarks.music_report.studio import START, NotMeasuredError, Studio, room_response
from services.contract.spec import INTENSITY_STEPS, KEYS, StreamSpec
from services.synthesis.score.events import Layer

INTENSITIES: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
_HOUR_S: Final = 3600
_NOTE_HOLD_S: Final = 4.0
_AFTER_NOTE_S: Final = 3.0
_ALL_PLAY: Final = 0.8
"""Intensity at which every layer of every preset plays."""
_LAYER_WINDOW_S: Final = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is heard.

    Attributes:
        short_s: for most rows.
        long_s: for the loudness range.
        key_s: of each of the twelve keys.
        loudness_s: at each intensity.
        hour_every_s, hour_window_s: an hour is heard as windows: how far apart they begin, and their length.
        recognition_streams: of each preset, each with a key and a seed of its own.
    """

    short_s: int = 240
    long_s: int = 600
    key_s: int = 120
    loudness_s: int = 240
    hour_every_s: int = 30
    hour_window_s: int = 5
    recognition_streams: int = 3


QUICK: Final = Plan(
    short_s=60, long_s=90, key_s=10, loudness_s=30, hour_every_s=240, hour_window_s=4, recognition_streams=1
)


@dataclass
class Session:
    """One run of the report.

    Attributes:
        studio: renders.
        plan: how much.
        presets: names.
        folder: where WAV files go: `presets/` and `peers/` in it.
        jury: folder of the outside ear, or None.
        results: what was measured so far.
        hours: windows of an hour by preset, kept for several rows and the pictures.
    """

    studio: Studio
    plan: Plan
    presets: Sequence[str]
    folder: Path
    jury: Path | None
    results: Results = field(default_factory=Results)
    hours: dict[str, list[Sound]] = field(default_factory=dict)

    def wav(self, preset: str) -> Sound:
        """The preset's stretch for most rows; rendered once."""
        path = self.folder / "presets" / f"{preset}.wav"
        if path.is_file():
            return read_wav(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return self.studio.wav(StreamSpec(preset=preset), self.plan.short_s, path)

    def peer(self, name: str) -> Sound:
        """A peer's stretch for most rows; made once.

        Raises:
            NotMeasuredError: it cannot be made here.
        """
        path = self.folder / "peers" / f"{name}.wav"
        if path.is_file():
            return read_wav(path).part(0.0, self.plan.short_s)
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in peers.PIECES:
            return peers.csound_piece(name, path).part(0.0, self.plan.short_s)
        sound = (peers.pink_noise if name == "pink noise" else peers.sine_organ)(self.plan.short_s)
        write_wav(path, sound)
        return read_wav(path)

    def hour_starts(self) -> range:
        """Where the windows of an hour begin, in seconds after its beginning."""
        return range(0, _HOUR_S, self.plan.hour_every_s)

    def hour(self, preset: str) -> list[Sound]:
        """Windows of an hour of the preset's default stream; rendered once."""
        if preset not in self.hours:
            spec = StreamSpec(preset=preset)
            self.hours[preset] = self.studio.windows(spec, self.hour_starts(), self.plan.hour_window_s)
        return self.hours[preset]


PEERS: Final = (*peers.PIECES, "pink noise", "sine organ")

_OF_A_STRETCH: Final[Mapping[str, Callable[[Sound], float]]] = {
    "tone.peaks": tone.peaks,
    "tone.movement": tone.movement_db,
    "tone.slope": tone.slope_db,
    "low.beat": low_end.beat_db,
    "low.correlation": low_end.correlation,
}
"""Rows that need a stretch of sound alone: measured of presets and peers alike."""
_NO_LOW_END: Final = "no line below 120 Hz lasts 20 s"


def measure_tone(session: Session) -> None:
    """Tone and low end of presets and peers."""
    for preset in session.presets:
        _stretch(session.results, PRESET, preset, session.wav(preset))
    for name in PEERS:
        try:
            _stretch(session.results, PEER, name, session.peer(name))
        except NotMeasuredError as error:
            for row in _OF_A_STRETCH:
                session.results.add(row, PEER, name, None, str(error))


def _stretch(results: Results, kind: str, name: str, sound: Sound) -> None:
    for row, measure in _OF_A_STRETCH.items():
        results.add(row, kind, name, measure(sound), _NO_LOW_END if row == "low.beat" else "")


def measure_keys(session: Session) -> None:
    """Centroids of the twelve keys of each preset; which two differ most is the figure's note."""
    for preset in session.presets:
        centroids = [
            low_end.centroid_hz(session.studio.windows(StreamSpec(preset=preset, key=key), [0], session.plan.key_s)[0])
            for key in KEYS
        ]
        note = ", ".join(f"{key} {centroid:.0f} Hz" for key, centroid in zip(KEYS, centroids, strict=True))
        session.results.add("low.key_step", PRESET, preset, low_end.key_step_percent(centroids), note)


def measure_space(session: Session) -> None:
    """Rooms by their responses, the room above 4.1 kHz in music, and what is left of a lone note of the pad."""
    for preset in session.presets:
        spec = StreamSpec(preset=preset)
        response = room_response(preset)
        session.results.add("space.t30_500", PRESET, preset, space.t30_s(response, *space.OCTAVE_500_HZ))
        ends = f"the room ends at {response.rate_hz / 2000:.1f} kHz"
        session.results.add("space.t30_high", PRESET, preset, space.t30_s(response, *space.HIGH_HZ), ends)
        full, dry = session.studio.full_and_dry(spec, range(0, session.plan.short_s, 30), 10)
        session.results.add("space.wet_high", PRESET, preset, space.wet_db(full, dry))
        note = session.studio.note(spec, Layer.PAD, hold_s=_NOTE_HOLD_S, seconds=10)
        tail = space.tail_db(note, 1.0 + _NOTE_HOLD_S, _AFTER_NOTE_S)
        session.results.add("space.tail", PRESET, preset, tail)


def measure_air(session: Session) -> None:
    """Movement of the level above 5 kHz over an hour."""
    for preset in session.presets:
        session.results.add("air.movement", PRESET, preset, air.movement_db(session.hour(preset)))


def measure_dynamics(session: Session) -> None:
    """Loudness at five intensities, its range over ten minutes and its greatest change."""
    for preset in session.presets:
        levels = []
        for intensity in INTENSITIES:
            spec = StreamSpec(preset=preset, intensity_steps=round(intensity * INTENSITY_STEPS))
            sound = session.studio.windows(spec, [0], session.plan.loudness_s)[0]
            levels.append(dynamics.integrated_lufs(sound))
            session.results.add(f"dynamics.lufs_{intensity * 100:.0f}", PRESET, preset, levels[-1])
        rise = min(after - before for before, after in pairwise(levels))
        session.results.add("dynamics.least_rise", PRESET, preset, rise)
        _range(
            session.results,
            PRESET,
            preset,
            session.studio.windows(StreamSpec(preset=preset), [0], session.plan.long_s)[0],
        )
    for name in PEERS:
        try:
            _range(session.results, PEER, name, session.peer(name))
        except NotMeasuredError as error:
            for row in ("dynamics.range", "dynamics.change"):
                session.results.add(row, PEER, name, None, str(error))


def _range(results: Results, kind: str, name: str, sound: Sound) -> None:
    results.add("dynamics.range", kind, name, dynamics.range_lu(sound))
    results.add("dynamics.change", kind, name, dynamics.greatest_change_lu(sound))


def measure_recognition(session: Session) -> None:
    """How often windows of each preset's second half hour are told from the others', learnt from the first one."""
    if len(session.presets) < 2:
        raise NotMeasuredError("one preset alone cannot be told from others")
    keys = tuple(KEYS)
    known: dict[str, list[recognition.Features]] = {}
    unseen: dict[str, list[recognition.Features]] = {}
    for preset in session.presets:
        streams = [session.hour(preset)]
        for index in range(1, session.plan.recognition_streams):
            spec = StreamSpec(preset=preset, key=keys[5 * index % len(keys)], seed=index)
            streams.append(session.studio.windows(spec, session.hour_starts(), session.plan.hour_window_s))
        for windows in streams:
            heard = [recognition.features(window) for window in windows]
            half = len(heard) // 2
            known.setdefault(preset, []).extend(heard[:half])
            unseen.setdefault(preset, []).extend(heard[half:])
    for preset, share in recognition.recognised(known, unseen).items():
        session.results.add("recognition.share", PRESET, preset, share, f"of {len(unseen[preset])} windows")


def measure_controls(session: Session) -> None:
    """What each control of the spec changes from one end to the other."""
    for preset in session.presets:
        for control in CONTROLS:
            sounds = [
                session.studio.windows(StreamSpec.from_params({"preset": preset, **params}), [0], session.plan.short_s)[
                    0
                ]
                for params in control.settings
            ]
            session.results.add(control.row, PRESET, preset, control.effect(sounds))
        few, some, many = (
            60.0 * onsets(session.studio.onsets_s(_dense(preset, density), session.plan.short_s)) / session.plan.short_s
            for density in (0.0, 0.5, 1.0)
        )
        note = f"{few:.0f}, {some:.0f} and {many:.0f} a minute at density 0, 0.5 and 1"
        session.results.add("controls.onsets", PRESET, preset, many / few if few else math.nan, note)


def _dense(preset: str, density: float) -> StreamSpec:
    return StreamSpec.from_params({"preset": preset, "density": density})


def measure_layers(session: Session) -> None:
    """What is missing without each layer, at an intensity at which all of them play."""
    starts_s = range(0, session.plan.short_s, 30)
    for preset in session.presets:
        spec = StreamSpec(preset=preset, intensity_steps=round(_ALL_PLAY * INTENSITY_STEPS))
        whole = join(session.studio.windows(spec, starts_s, _LAYER_WINDOW_S))
        for layer, row in LAYER_ROWS.items():
            silent = spec.updated({"levels": {layer: 0}})
            changed = muting(whole, join(session.studio.windows(silent, starts_s, _LAYER_WINDOW_S)))
            silent_note = f"nothing of it sounds in these {whole.seconds:.0f} s at intensity {_ALL_PLAY:g}"
            note = silent_note if math.isnan(changed.share_db) else changed.note
            session.results.add(row, PRESET, preset, changed.share_db, note)


def measure_ear(session: Session) -> None:
    """The outside ear, of presets and peers."""
    for preset in session.presets:
        session.wav(preset)
    for name in peers.PIECES:
        try:
            session.peer(name)
        except NotMeasuredError as error:
            session.results.add("ear.people", PEER, name, None, str(error))
    groups = {kind: session.folder / kind for kind in ("presets", "peers") if (session.folder / kind).is_dir()}
    said = ear.listen(session.jury, groups)
    for (group, name), heard in said.files.items():
        kind = PRESET if group == "presets" else PEER
        for row, value, note in (
            ("ear.people", heard.people, ""),
            ("ear.organ", heard.organ, ""),
            ("ear.nearest", heard.nearest, heard.person),
            ("ear.organ_lead", heard.organ - heard.nearest, heard.person),
            ("ear.rms", heard.rms, ""),
            ("ear.step", heard.step, ""),
        ):
            session.results.add(row, kind, name, value, note)
    if "presets" in said.together:
        session.results.add("ear.together", ALL, "", said.together["presets"])
        session.results.add("ear.apart", ALL, "", said.apart["presets"])


def measure_score(session: Session) -> None:
    """The score of each preset: form, identity, tempo, harmony and melody, read from its notes."""
    extent = score_rows.extent_from(START)
    if session.plan != Plan():
        extent = score_rows.brief(extent)
    for row in score_rows.ROWS:
        for preset in session.presets:
            session.results.add(row, PRESET, preset, *score_rows.measure(StreamSpec(preset=preset), extent, row))


AREAS: Final[Mapping[str, Callable[[Session], None]]] = {
    "ear": measure_ear,
    "tone": measure_tone,
    "keys": measure_keys,
    "space": measure_space,
    "air": measure_air,
    "dynamics": measure_dynamics,
    "recognition": measure_recognition,
    "controls": measure_controls,
    "layers": measure_layers,
    "score": measure_score,
}
"""By name; "tone" holds the low end too."""
