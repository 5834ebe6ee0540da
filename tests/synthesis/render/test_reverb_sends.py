from __future__ import annotations

import psutil
import pytest
import torch

from services.synthesis.dsp.grid import QUARTER_BLOCK
from services.synthesis.dsp.reverb import PARTS
from services.synthesis.idle_streams import IDLE_S
from services.synthesis.render.reverb_sends import KEEP_SECONDS, SILENCE, Key, SendStore

CPU = torch.device("cpu")


def _store(store: SendStore, *keys: Key) -> None:
    store.store(list(keys), torch.zeros((len(keys), QUARTER_BLOCK)))


def test_a_second_is_there_for_others_only_once_its_sound_is() -> None:
    store = SendStore(16, CPU)
    store.claim([("a", 5)])
    # Another thread that looks now must make the second itself: the slot still holds another one's sound.
    assert ("a", 5) not in store
    sound = torch.rand((1, QUARTER_BLOCK))
    store.store([("a", 5)], sound)
    assert ("a", 5) in store
    assert torch.equal(store.sends[store.slot(("a", 5))], sound[0])


def test_a_slot_is_found_again_and_claimed_once() -> None:
    store = SendStore(16, CPU)
    [slot] = store.claim([("a", 5)])
    assert store.slot(("a", 5)) == slot == store.claim([("a", 5)])[0]
    assert slot != SILENCE
    _store(store, ("a", 5))
    assert store.slot(("a", 5)) == slot
    assert ("a", 5) in store
    assert ("a", 6) not in store
    assert len(store) == 1


def test_memory_is_taken_only_for_what_is_kept() -> None:
    process = psutil.Process()
    before = process.memory_info().rss
    store = SendStore(8_000, CPU)
    _store(store, ("a", 5))
    # All slots together would be more than a gigabyte.
    assert process.memory_info().rss - before < 50 * 2**20


def test_seconds_before_the_epoch_are_silent() -> None:
    assert SendStore(16, CPU).slot(("a", -1)) == SILENCE


def test_a_full_store_drops_the_oldest_and_counts_it() -> None:
    store = SendStore(2 * (PARTS + 2), CPU)
    for second in range(store.capacity):
        _store(store, ("a", second))
    assert store.evictions == 0
    _store(store, ("b", 0))
    assert store.evictions == 1
    assert ("a", 0) not in store
    assert ("a", 1) in store
    assert len(store) == store.capacity


def test_only_the_last_seconds_of_a_stream_are_kept() -> None:
    store = SendStore(32, CPU)
    for second in range(10):
        _store(store, ("a", second))
    store.forget({"a": 9})
    assert [second for second in range(10) if ("a", second) in store] == list(range(10 - KEEP_SECONDS, 10))


def test_a_stream_without_asks_is_forgotten() -> None:
    store = SendStore(32, CPU)
    _store(store, ("left", 100), ("heard", 100 + IDLE_S + 1))
    store.forget({"heard": 100 + IDLE_S + 1})
    assert ("left", 100) not in store
    assert ("heard", 100 + IDLE_S + 1) in store


def test_a_dropped_second_loses_its_spectrum_too() -> None:
    store = SendStore(32, CPU)
    for second in range(3):
        _store(store, ("a", second))
    store.store_spectra([("a", 2)])
    assert store.has_spectrum(("a", 2))
    store.forget({"a": 2 + KEEP_SECONDS})
    assert not store.has_spectrum(("a", 2))


def test_a_store_too_small_for_one_block_is_refused() -> None:
    with pytest.raises(ValueError, match="slots: got 3"):
        SendStore(3, CPU)


def test_a_spectrum_has_the_same_bits_alone_and_among_others() -> None:
    stores = []
    for batches in ([["a"], ["b"], ["c"]], [["a", "b", "c"]], [["c", "a"], ["b"]]):
        store = SendStore(32, CPU)
        for stream, seed in (("a", 1), ("b", 2), ("c", 3)):
            for second in range(3):
                generator = torch.Generator().manual_seed(10 * seed + second)
                store.sends[store.claim([(stream, second)])[0]] = torch.randn(11_025, generator=generator)
        for batch in batches:
            store.store_spectra([(stream, 2) for stream in batch])
        stores.append([store.spectra[store.slot((stream, 2))].clone() for stream in "abc"])
    for other in stores[1:]:
        assert all(torch.equal(one, two) for one, two in zip(stores[0], other, strict=True))
