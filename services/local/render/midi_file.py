"""Pure. A span of a stream's score as a Standard MIDI File of format 1; docs/export.md describes it."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from services.contract.spec import StreamSpec
from services.local.render.notes import Note, notes_of
from services.local.render.players import Player, players_of
from services.local.render.score_view import ScoreView
from services.synthesis.score.events import Layer
from services.synthesis.score.theory import SCALES

TICKS_PER_BEAT: Final = 960
_CHANNELS: Final = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15)
"""All but the tenth, on which General MIDI has drums."""
_HIGHEST: Final = 127
"""The highest pitch of MIDI."""

_TEXT: Final = 0x01
_NAME: Final = 0x03
_INSTRUMENT: Final = 0x04
_MARKER: Final = 0x06
_END: Final = 0x2F
_TEMPO: Final = 0x51
_METRE: Final = 0x58
_SIGNATURE: Final = 0x59
_FOUR_FOUR: Final = bytes((4, 2, 24, 8))
"""Four quarters a bar; a click each quarter; eight 32nds to a quarter."""

_NOTE_OFF: Final = 0x80
_NOTE_ON: Final = 0x90
_CONTROLLER: Final = 0xB0
_PROGRAM: Final = 0xC0
_VOLUME: Final = 7

# Events of one tick are written in this order.
_SETTING, _OFF, _ON, _LAST = range(4)

Event = tuple[int, int, bytes]
"""Tick, place among the events of the tick, and bytes behind the delta time."""


def midi_file(spec: StreamSpec, score: ScoreView, *, seconds: float) -> bytes:
    """The file: a track of tempo, signatures and markers, then a track for each layer and instrument that plays.

    Args:
        spec: the stream.
        score: the span, from `score_view.view_score`.
        seconds: length of the span.

    Raises:
        ValueError: a preset has more players than there are channels.
    """
    tempo_us = round(60e6 / spec.bpm)
    clock = _Clock(tempo_us)
    notes = notes_of(score)
    parts = [
        (layer, player)
        for layer in Layer
        if any(note.layer == layer for note in notes)
        for player in players_of(spec, layer)
    ]
    if len(parts) > len(_CHANNELS):
        raise ValueError(f"players: got {len(parts)}, expected at most {len(_CHANNELS)}, one for each MIDI channel")
    tracks = [_conductor(spec, score, clock, tempo_us)]
    for channel, (layer, player) in zip(_CHANNELS, parts, strict=False):
        tracks.append(_part([note for note in notes if note.layer == layer], layer, player, channel, clock))
    end = clock.tick(seconds)
    header = b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), TICKS_PER_BEAT)
    return header + b"".join(_chunk(track, end) for track in tracks)


class _Clock:
    """Seconds as ticks, by the tempo as the file has it: in whole microseconds a beat, so that nothing drifts."""

    def __init__(self, tempo_us: int) -> None:
        self._ticks_per_s = TICKS_PER_BEAT * 1e6 / tempo_us

    def tick(self, at_s: float) -> int:
        return round(at_s * self._ticks_per_s)


def _conductor(spec: StreamSpec, score: ScoreView, clock: _Clock, tempo_us: int) -> list[Event]:
    # Fifths from C: the key signature of the mode's parent, which has the same notes.
    parent = next(root for root in range(12) if set(_notes_of(root)) == set(_notes_of(spec.pitch_class, spec.mode)))
    sharps = (parent * 7 + 5) % 12 - 5
    events = [
        (0, _SETTING, _meta(_NAME, spec.title.encode())),
        (0, _SETTING, _meta(_TEXT, spec.stream_id.encode())),
        (0, _SETTING, _meta(_TEMPO, tempo_us.to_bytes(3))),
        (0, _SETTING, _meta(_METRE, _FOUR_FOUR)),
        (0, _SETTING, _meta(_SIGNATURE, struct.pack("bB", sharps, 0))),
    ]
    events += [
        (clock.tick(section.at_s), _SETTING, _meta(_MARKER, f"Section {_plain(section.text)}".encode()))
        for section in score.sections
    ]
    events += [(clock.tick(chord.at_s), _ON, _meta(_MARKER, _plain(chord.text).encode())) for chord in score.chords]
    return events


def _notes_of(root: int, mode: str = "ionian") -> Iterable[int]:
    return ((root + step) % 12 for step in SCALES[mode])


def _part(notes: Sequence[Note], layer: Layer, player: Player, channel: int, clock: _Clock) -> list[Event]:
    """The events of one instrument."""
    name = f"{layer.name.lower()}: {player.instrument}".encode()
    events: list[Event] = [
        (0, _SETTING, _meta(_NAME, name)),
        (0, _SETTING, _meta(_INSTRUMENT, player.instrument.encode())),
        (0, _SETTING, bytes((_PROGRAM | channel, player.program))),
        (0, _SETTING, bytes((_CONTROLLER | channel, _VOLUME, player.volume))),
    ]
    keys: dict[int, list[Note]] = {}
    for note in notes:
        keys.setdefault(min(max(note.pitch + player.transpose, 0), _HIGHEST), []).append(note)
    for key, strikes in keys.items():
        for begin, end, velocity in _strikes(strikes, clock):
            events.append((begin, _ON, bytes((_NOTE_ON | channel, key, velocity))))
            events.append((end, _OFF, bytes((_NOTE_OFF | channel, key, 0))))
    return events


def _strikes(notes: Sequence[Note], clock: _Clock) -> list[tuple[int, int, int]]:
    """First tick, last tick and velocity of the notes of one key, which no two notes hold together.

    A note that is struck while the key is held ends the one before; it is held as long as either. Notes of one tick
    are one.
    """
    found: list[tuple[int, int, int]] = []
    for note in notes:
        begin, end = clock.tick(note.begin_s), max(clock.tick(note.end_s), clock.tick(note.begin_s) + 1)
        velocity = note.velocity
        if found and begin < found[-1][1]:
            earlier, held, strength = found.pop()
            end = max(end, held)
            if earlier < begin:
                found.append((earlier, begin, strength))
            else:
                velocity = max(velocity, strength)
        found.append((begin, end, velocity))
    return found


def _chunk(events: list[Event], end: int) -> bytes:
    """A track, which ends at tick `end` or with its last event."""
    last = max(end, *(tick for tick, _, _ in events))
    body = bytearray()
    before = 0
    for tick, _, data in sorted((*events, (last, _LAST, _meta(_END, b""))), key=lambda event: event[:2]):
        body += _variable(tick - before) + data
        before = tick
    return b"MTrk" + struct.pack(">I", len(body)) + bytes(body)


def _meta(kind: int, data: bytes) -> bytes:
    return bytes((0xFF, kind)) + _variable(len(data)) + data


def _variable(number: int) -> bytes:
    """A number in groups of seven bits, the highest first; all groups but the last have the top bit set."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(0x80 | number & 0x7F)
    return bytes(reversed(groups))


def _plain(text: str) -> str:
    """Text for programs that read MIDI files as Latin-1: the prime of a section that returns is an apostrophe."""
    return text.replace("\u2032", "'").encode("ascii", "replace").decode()
