"""Which sections are kept, and what sounds in a block."""

from __future__ import annotations

import numpy as np

from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCKS_PER_SECTION
from services.synthesis.idle_streams import IDLE_S
from services.synthesis.instruments.files import load_bank
from services.synthesis.packing.section_store import SectionStore
from services.synthesis.score.events import Layer, Section
from tests.synthesis.fakes import score
from tests.synthesis.packing.support import SECTION, SPEC, block_at, low, store_of


def test_the_tail_of_a_section_is_heard_in_the_next() -> None:
    store = store_of([(238.0, 1.5, 57.0, 0.0, Layer.PAD)])
    assert store.place(SPEC, block_at(BLOCKS_PER_SECTION)).low_count > 0
    assert store.place(SPEC, block_at(BLOCKS_PER_SECTION + 30)).low_count == 0


def test_prepared_sections_are_bounded_and_the_least_recently_used_goes() -> None:
    composed: list[tuple[str, int]] = []
    plain = score([(0.0, 100.0, 60.0, 0.0, Layer.PAD)])

    def compose(spec: StreamSpec, number: int) -> Section:
        composed.append((spec.stream_id, number))
        return plain(spec, number)

    store = SectionStore(compose, load_bank(), max_sections=2)
    a, b, c = (StreamSpec(seed=seed) for seed in range(3))
    for spec in (a, b, a, c, a, b):
        store.section(spec, 1)
    assert [stream for stream, _ in composed] == [s.stream_id for s in (a, b, c, b)]


def test_sections_of_idle_streams_and_past_ones_are_forgotten() -> None:
    store = SectionStore(score([(0.0, 5.0, 60.0, 0.0, Layer.PAD)]), load_bank(), max_sections=10_000)
    heard = StreamSpec(seed=1)
    most = 0
    for second in range(3 * BLOCKS_PER_SECTION):
        # Steered each second: the stream that it leaves is never asked for again.
        steered = StreamSpec(seed=2 + second)
        for spec in (heard, steered):
            store.place(spec, block_at(second))
        store.forget({heard.stream_id: block_at(second), steered.stream_id: block_at(second)})
        store.look_ahead(heard, block_at(second))
        most = max(most, len(store))
    # Of each its own section and the one before; of the stream that goes on one to come besides.
    assert most <= 2 * (IDLE_S + 1) + 3
    assert len(store) > IDLE_S


def test_forgetting_changes_no_sample() -> None:
    store, keeping = store_of([(235.0, 9.0, 57.0, 0.0, Layer.PAD)]), store_of([(235.0, 9.0, 57.0, 0.0, Layer.PAD)])
    for second in (238, 239, 240, 241, 290, 480, 242):
        here, there = (low(each.place(SPEC, block_at(second))) for each in (store, keeping))
        assert np.array_equal(here.parameters, there.parameters)
        store.forget({SPEC.stream_id: block_at(second)})


def test_streams_prepare_their_next_section_at_different_moments_and_before_it_begins() -> None:
    moments = []
    for seed in range(40):
        store = store_of([(0.0, 5.0, 60.0, 0.0, Layer.PAD)])
        spec = StreamSpec(seed=seed)
        for second in range(BLOCKS_PER_SECTION):
            store.look_ahead(spec, block_at(second))
            if (spec.stream_id, SECTION + 1) in store._prepared:
                moments.append(second)
                break
    assert len(moments) == 40
    assert len(set(moments)) > 25
    assert max(moments) < BLOCKS_PER_SECTION - 10
