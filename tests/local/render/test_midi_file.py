"""The MIDI file, read back by mido, which is not ours."""

from __future__ import annotations

import io
from dataclasses import replace

import mido
import numpy as np
import pytest

from services.contract.spec import PRESETS, StreamSpec
from services.contract.timebase import SECTION_S
from services.local.render import midi_file as module
from services.local.render.midi_file import midi_file
from services.local.render.notes import Note, notes_of
from services.local.render.players import Player, players_of
from services.local.render.score_view import ScoreView, view_score
from services.synthesis.score.events import Layer

START = 7_437_500 * SECTION_S
SECONDS = 2 * SECTION_S
SPEC = StreamSpec("A#", "lydian", 83, 14, "lantern", 7)


def read(spec: StreamSpec, score: ScoreView, seconds: float = SECONDS) -> mido.MidiFile:
    return mido.MidiFile(file=io.BytesIO(midi_file(spec, score, seconds=seconds)))


def timed(file: mido.MidiFile, track: mido.MidiTrack) -> list[tuple[float, mido.Message]]:
    """Messages of a track with their seconds from the beginning, by the file's own tempo."""
    (tempo_us,) = [message.tempo for message in file.tracks[0] if message.type == "set_tempo"]
    at, found = 0, []
    for message in track:
        at += message.time
        found.append((mido.tick2second(at, file.ticks_per_beat, tempo_us), message))
    return found


def sounding(messages: list[tuple[float, mido.Message]]) -> list[tuple[float, float, int, int]]:
    """Beginning, end, pitch and velocity of each note; fails on a note that is struck twice or never let go."""
    held: dict[int, tuple[float, int]] = {}
    found = []
    for at_s, message in messages:
        if message.type == "note_on":
            assert message.note not in held
            held[message.note] = at_s, message.velocity
        elif message.type == "note_off":
            begin_s, velocity = held.pop(message.note)
            found.append((begin_s, at_s, message.note, velocity))
    assert held == {}
    return sorted(found, key=lambda note: (note[0], note[2]))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_reader_finds_every_note_of_every_preset(preset: str) -> None:
    spec = StreamSpec(preset=preset, intensity_steps=16)
    score = view_score(spec, START, SECONDS)
    file = read(spec, score)
    parts = {track.name: sounding(timed(file, track)) for track in file.tracks[1:]}
    notes = notes_of(score)
    ticks_per_s = file.ticks_per_beat * 1e6 / round(60e6 / spec.bpm)
    for layer in Layer:
        for player in players_of(spec, layer):
            found = parts.pop(f"{layer.name.lower()}: {player.instrument}")
            wanted: dict[tuple[int, int], int] = {}
            for note in notes:
                if note.layer == layer:
                    strike = round(note.begin_s * ticks_per_s), note.pitch + player.transpose
                    # Two notes that begin in one tick on one key are one, as loud as the louder.
                    wanted[strike] = max(note.velocity, wanted.get(strike, 0))
            assert len(found) == len(wanted) > 0
            for (begin_s, end_s, *key), (strike, velocity) in zip(found, sorted(wanted.items()), strict=True):
                assert key == [strike[1], velocity]
                assert begin_s == pytest.approx(strike[0] / ticks_per_s, abs=1e-6)
                assert end_s > begin_s
    assert parts == {}
    assert file.length == pytest.approx(SECONDS, abs=0.001)


def test_the_first_track_tells_tempo_metre_key_and_where_sections_and_chords_begin() -> None:
    score = view_score(SPEC, START, SECONDS)
    file = read(SPEC, score)
    head = timed(file, file.tracks[0])
    by_kind = {message.type: message for _, message in head}
    assert by_kind["track_name"].name == SPEC.title
    assert by_kind["text"].text == SPEC.stream_id
    assert mido.tempo2bpm(by_kind["set_tempo"].tempo) == pytest.approx(83, abs=1e-4)
    assert (by_kind["time_signature"].numerator, by_kind["time_signature"].denominator) == (4, 4)
    assert by_kind["key_signature"].key == "F"  # whose notes B flat lydian has
    markers = [(at_s, message.text) for at_s, message in head if message.type == "marker"]
    sections = [(at_s, text) for at_s, text in markers if text.startswith("Section ")]
    assert [at_s for at_s, _ in sections] == pytest.approx([mark.at_s for mark in score.sections], abs=0.001)
    assert [text[len("Section ")] for _, text in sections] == [mark.text[0] for mark in score.sections]
    chords = [(at_s, text) for at_s, text in markers if not text.startswith("Section ")]
    assert [text for _, text in chords] == [mark.text for mark in score.chords]
    assert [at_s for at_s, _ in chords] == pytest.approx([mark.at_s for mark in score.chords], abs=0.001)


def test_a_section_of_four_minutes_begins_on_a_bar_line() -> None:
    file = read(SPEC, view_score(SPEC, START, SECONDS))
    at = 0
    for message in file.tracks[0]:
        at += message.time
        if message.type == "marker" and message.text.startswith("Section "):
            # The tempo is in whole microseconds a beat, so a tick may be lost in four minutes.
            assert min(at % (4 * file.ticks_per_beat), -at % (4 * file.ticks_per_beat)) <= 1


@pytest.mark.parametrize(
    ("key", "mode", "signature"),
    [
        ("C", "ionian", "C"), ("C", "dorian", "Bb"), ("C", "locrian", "Db"), ("F#", "ionian", "F#"),
        ("B", "ionian", "B"), ("D", "lydian", "A"), ("G#", "aeolian", "B"), ("D#", "aeolian", "F#"),
    ],
)  # fmt: skip
def test_the_key_signature_is_that_of_the_mode(key: str, mode: str, signature: str) -> None:
    spec = StreamSpec(key, mode)
    file = read(spec, view_score(spec, START, 20), 20)
    (found,) = [message.key for message in file.tracks[0] if message.type == "key_signature"]
    assert found == signature


def test_a_layer_that_is_silent_has_no_track_and_a_quieter_one_less_volume() -> None:
    steered = SPEC.updated({"levels": {"pad": 0, "melody": 0.5}})
    tracks = {}
    for spec in (SPEC, steered):
        file = read(spec, view_score(spec, START, SECONDS))
        tracks[spec] = {track.name.partition(":")[0]: track for track in file.tracks[1:]}
    assert set(tracks[SPEC]) - set(tracks[steered]) == {"pad"}

    def volume(spec: StreamSpec) -> int:
        return next(
            message.value
            for message in tracks[spec]["melody"]
            if message.type == "control_change" and message.control == 7
        )

    assert (volume(steered) / volume(SPEC)) ** 2 == pytest.approx(0.5, abs=0.02)


def test_no_part_plays_on_the_channel_of_drums(monkeypatch: pytest.MonkeyPatch) -> None:
    many = tuple(Player(f"number {place}", place, 100) for place in range(2))
    monkeypatch.setattr(module, "players_of", lambda *_: many)
    file = read(SPEC, view_score(SPEC, START, SECONDS))
    channels = [{message.channel for message in track if not message.is_meta} for track in file.tracks[1:]]
    assert len(channels) == 12
    assert all(len(own) == 1 for own in channels)
    assert len(set.union(*channels)) == 12
    assert 9 not in set.union(*channels)
    monkeypatch.setattr(module, "players_of", lambda *_: many * 2)
    with pytest.raises(ValueError, match="got 24, expected at most 15"):
        read(SPEC, view_score(SPEC, START, SECONDS))


def test_a_note_that_is_struck_again_while_it_is_held_ends_first() -> None:
    score = view_score(SPEC, START, 10.0)
    score = replace(
        score,
        begin_s=np.array([0.0, 1.0, 1.0, 6.0, 6.0]),
        end_s=np.array([5.0, 4.0, 4.0, 8.0, 7.0]),
        pitch_midi=np.array([60.0, 60.0, 64.0, 64.0, 64.0]),
        gain=np.array([0.25, 1.0, 0.0, 0.25, 1.0]),
        layer=np.full(5, Layer.PAD, np.uint8),
    )
    file = read(SPEC, score, 10.0)
    found = sounding(timed(file, file.tracks[1]))
    assert [(round(begin, 2), round(end, 2), *rest) for begin, end, *rest in found] == [
        (0.0, 1.0, 60, 64),
        (1.0, 5.0, 60, 127),
        (1.0, 4.0, 64, 1),
        (6.0, 8.0, 64, 127),
    ]


def test_each_note_names_the_chord_that_it_begins_in() -> None:
    score = view_score(SPEC, START, SECONDS)
    notes: list[Note] = notes_of(score)
    assert [note.begin_s for note in notes] == sorted(score.begin_s.tolist())
    for note in notes:
        before = [mark.text for mark in score.chords if mark.at_s <= note.begin_s]
        assert note.chord == before[-1]
