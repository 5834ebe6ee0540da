from __future__ import annotations

import numpy as np
import pytest
import torch

from services.synthesis.dsp.grid import GUARD_FRAMES, LOW_FRAMES, QUARTER_BLOCK, QUARTER_HZ
from services.synthesis.dsp.reverb import (
    DELAY_FRAMES,
    PARTS,
    WET_OFFSET,
    inverse,
    mix_spectra,
    response_spectra,
)
from services.synthesis.render.reverb_sends import SendStore
from services.synthesis.sound.patches import SOUNDS
from services.synthesis.sound.room import Room, impulse_response
from tests.synthesis.listening import difference_db

BLOCKS = PARTS + 4


def _reverb_of(send: np.ndarray, response: np.ndarray, blocks: range) -> np.ndarray:
    """The reverb of `blocks`, each with its guards, by the spectra of seconds: [blocks, 2, LOW_FRAMES]."""
    store = SendStore(32, torch.device("cpu"))
    seconds = len(send) // QUARTER_BLOCK
    keys = [("a", second) for second in range(seconds)]
    for key in keys:
        store.sends[store.claim([key])[0]] = torch.from_numpy(send[key[1] * QUARTER_BLOCK :][:QUARTER_BLOCK])
    store.store_spectra(keys)
    slots = torch.tensor([[store.slot(("a", block - part)) for part in range(PARTS)] for block in blocks])
    responses = torch.from_numpy(response_spectra(response))[None]
    kept = store.spectra.view(torch.int64)
    spectra = mix_spectra(kept, slots, responses, torch.zeros(len(blocks), dtype=torch.int64))
    return inverse(spectra).numpy()[:, :, WET_OFFSET : WET_OFFSET + LOW_FRAMES]


def test_the_reverb_is_the_convolution_with_the_room() -> None:
    random = np.random.default_rng(5)
    send = (0.2 * random.standard_normal(BLOCKS * QUARTER_BLOCK)).astype(np.float32)
    response = impulse_response(Room())
    size = 2**18
    direct = np.fft.irfft(np.fft.rfft(send.astype(np.float64), n=size) * np.fft.rfft(response, n=size), n=size)
    blocks = range(PARTS, BLOCKS)
    found = _reverb_of(send, response, blocks)
    for row, block in enumerate(blocks):
        begin = block * QUARTER_BLOCK - GUARD_FRAMES - DELAY_FRAMES
        assert difference_db(found[row], direct[:, begin : begin + LOW_FRAMES]) < -100.0


def test_a_click_sent_at_the_end_of_a_block_rings_as_long_as_the_response_and_no_longer() -> None:
    send = np.zeros(BLOCKS * QUARTER_BLOCK, dtype=np.float32)
    send[QUARTER_BLOCK - 1] = 1.0
    found = np.abs(
        _reverb_of(send, impulse_response(Room(rt60_low_s=8.0, rt60_mid_s=8.0, rt60_high_s=6.0)), range(BLOCKS))
    ).max(axis=(1, 2))
    assert (found[1 : PARTS + 1] > 1e-8).all()
    assert (found[PARTS + 2 :] < 1e-9).all()


@pytest.mark.parametrize("preset", SOUNDS)
def test_rooms_decay_within_eight_seconds_and_have_no_dc(preset: str) -> None:
    response = impulse_response(SOUNDS[preset].room)
    assert np.abs(response.sum(axis=1)).max() < 1e-3
    assert np.sum(response**2, axis=1) == pytest.approx([1.0, 1.0])
    # Schroeder: energy still to come; -5 to -35 dB, extrapolated to 60.
    left = np.cumsum((response**2).sum(axis=0)[::-1])[::-1]
    level = 10 * np.log10(left / left[0] + 1e-12)
    begin, end = np.argmax(level < -5), np.argmax(level < -35)
    assert 1.0 < 2.0 * (end - begin) / QUARTER_HZ < 8.0


def test_rooms_of_equal_words_are_equal_and_other_seeds_are_other_rooms() -> None:
    assert np.array_equal(impulse_response(Room(seed=3)), impulse_response(Room(seed=3)))
    assert abs(np.corrcoef(impulse_response(Room(seed=3))[0], impulse_response(Room(seed=4))[0])[0, 1]) < 0.2


def test_width_decides_how_related_the_sides_are() -> None:
    wide = np.corrcoef(impulse_response(Room(width=1.0)))[0, 1]
    narrow = np.corrcoef(impulse_response(Room(width=0.3)))[0, 1]
    assert abs(wide) < 0.15
    assert narrow > 0.5
