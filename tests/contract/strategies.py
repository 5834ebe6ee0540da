"""What the contract's values and a hostile sender's messages look like, for hypothesis."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from services.contract.block import Block, Chord, stream_hash
from services.contract.spec import (
    CONTROL_STEPS,
    INTENSITY_STEPS,
    KEYS,
    LAYERS,
    LEVEL_STEPS,
    MAX_BPM,
    MAX_LEVEL,
    MAX_SEED,
    MIN_BPM,
    MODES,
    OWN_TEXTURE,
    PRESETS,
    TEXTURES,
    StreamSpec,
)
from services.contract.timebase import BLOCK_BYTES, CHUNKS_PER_BLOCK, MAX_TICK

PCM = bytes(index * 7 % 251 for index in range(BLOCK_BYTES))

_control_steps = st.just(CONTROL_STEPS // 2) | st.integers(0, CONTROL_STEPS)
specs = st.builds(
    StreamSpec,
    key=st.sampled_from(list(KEYS)),
    mode=st.sampled_from(MODES),
    bpm=st.integers(MIN_BPM, MAX_BPM),
    intensity_steps=st.integers(0, INTENSITY_STEPS),
    preset=st.sampled_from(PRESETS),
    seed=st.integers(0, MAX_SEED),
    brightness_steps=_control_steps,
    density_steps=_control_steps,
    texture=st.just(OWN_TEXTURE) | st.sampled_from(TEXTURES),
    level_steps=st.just((LEVEL_STEPS,) * len(LAYERS))
    | st.tuples(*[st.just(LEVEL_STEPS) | st.integers(0, round(MAX_LEVEL * LEVEL_STEPS))] * len(LAYERS)),
)
"""Every stream; half of them with optional parts at their defaults."""
levels = st.floats(0, 1, width=32)
revisions = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=16)
chords = st.lists(
    st.builds(
        Chord,
        chunk=st.integers(0, CHUNKS_PER_BLOCK - 1),
        name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8),
    ),
    max_size=10,
).map(tuple)
blocks = st.builds(
    Block,
    stream_hash=specs.map(lambda spec: stream_hash(spec.stream_id)),
    revision=revisions,
    first_tick=st.integers(0, MAX_TICK // 10).map(lambda block: block * 10),
    pcm=st.just(PCM),
    peak=levels,
    rms=levels,
    render_s=levels,
    chords=chords,
)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)

_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**301)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["start", "stop", "update", "control", "report", "C", "dorian", "drift", -1, 0, 1, 70, 0.5, "", {"pad": 0.5}]
    )
)
values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
"""Any JSON value, and NaN and infinities, which json.dumps writes although JSON has none."""


def objects(*fields: str) -> st.SearchStrategy[bytes]:
    """JSON objects with any values in the given fields, and some fields too many."""
    known: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(fields, values)
    return st.fixed_dictionaries({}, optional={**known, "surplus": values}).map(
        lambda value: json.dumps(value, ensure_ascii=True).encode()
    )


HOSTILE_JSON: tuple[tuple[str, bytes], ...] = (
    ("nothing", b""),
    ("spaces", b"   "),
    ("a bare number", b"1"),
    ("a list", b"[]"),
    ("null", b"null"),
    ("half an object", b'{"v":1'),
    ("two objects", b'{"v":1}{"v":1}'),
    ("a comment", b'{"v":1}// hello'),
    ("a trailing comma", b'{"v":1,}'),
    ("single quotes", b"{'v':1}"),
    ("NaN", b'{"v":NaN}'),
    ("Infinity", b'{"v":-Infinity}'),
    ("a key twice", b'{"v":1,"v":1}'),
    ("a key twice, inside", b'{"v":1,"params":{"key":"C","key":"D"}}'),
    ("not UTF-8", b'{"v":1,"x":"\xff"}'),
    ("UTF-16", '{"v":1}'.encode("utf-16")),
    ("a byte order mark", b'\xef\xbb\xbf{"v":1}'),
    ("a number of 400 digits where it is not read", b'{"v":1' + b"0" * 400 + b"}"),
    ("deep lists", b'{"v":' + b"[" * 200 + b"]" * 200 + b"}"),
    ("deep objects", b'{"v":' + b'{"a":' * 60 + b"1" + b"}" * 60 + b"}"),
    ("a control character in a text", b'{"v":"\x01"}'),
    ("bytes", bytes(range(256))),
)
