"""What is kept between blocks to save work: for each stream the last seconds sent to the reverb, and their spectra.

Nothing depends on it but speed: what is missing is computed again, with the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Final

import numpy as np
import torch
from torch import Tensor

from services.synthesis.dsp.grid import QUARTER_BLOCK
from services.synthesis.dsp.reverb import BINS, HISTORY_FRAMES, PADDED_BINS, PARTS, WINDOW_FRAMES, spectrum
from services.synthesis.render.upload import upload_index

KEEP_SECONDS: Final = PARTS
"""Seconds kept for a stream after its latest block was rendered."""
FORGET_SECONDS: Final = 30
"""A stream whose seconds lie this far behind the newest has no listener any more."""
SLOT_BYTES: Final = 4 * (QUARTER_BLOCK + 2 * PADDED_BINS)
SILENCE: Final = 0
"""The slot that is always silent."""

Key = tuple[str, int]
"""Stream id and second."""


class SendStore:
    """A bounded pool of slots, each with a second of send and its spectrum.

    When it is full, the slot that was claimed or touched longest ago is taken; `evictions` counts it. Threads may share
    it: two that make the same second store the same bits, and a second is only there for others once its sound is.

    Args:
        slots: capacity. Memory is touched slot by slot as it is needed: 137 KB each.
        device: where the tensors live.
    """

    def __init__(self, slots: int, device: torch.device) -> None:
        if slots < 2 * (PARTS + 2):
            raise ValueError(f"slots: got {slots}, expected at least {2 * (PARTS + 2)}")
        self.sends = _zeros((slots, QUARTER_BLOCK), device)
        self.spectra = _zeros((slots, 2, PADDED_BINS), device)
        self.evictions = 0
        self._lock = Lock()
        self._slots: dict[Key, int] = {}
        self._stored: set[Key] = set()
        self._with_spectrum: set[Key] = set()
        self._forgot_at: int | None = None
        self._free = list(range(slots - 1, SILENCE, -1))

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def capacity(self) -> int:
        """Seconds that fit at once."""
        return self.sends.shape[0] - 1

    def __contains__(self, key: Key) -> bool:
        return key in self._stored

    def has_spectrum(self, key: Key) -> bool:
        """Whether the spectrum of the window that ends with this second is kept."""
        return key in self._with_spectrum

    def slot(self, key: Key) -> int:
        """The slot of a second that is kept; seconds before the epoch are silent."""
        return self.slots([key])[0]

    def slots(self, keys: Iterable[Key]) -> list[int]:
        """The slots of seconds that are kept, as `slot`."""
        with self._lock:
            return [SILENCE if key[1] < 0 else self._slots[key] for key in keys]

    def claim(self, keys: list[Key]) -> list[int]:
        """Slots for seconds whose sends will now be written; `store` does both and says that they are there."""
        with self._lock:
            return [self._claim(key) for key in keys]

    def _claim(self, key: Key) -> int:
        slot = self._slots.pop(key, None)
        if slot is None:
            if not self._free:
                # Dictionaries keep the order of insertion, so the first key is the oldest.
                self._drop(next(iter(self._slots)))
                self.evictions += 1
            slot = self._free.pop()
        self._slots[key] = slot
        return slot

    def store(self, keys: list[Key], sends: Tensor) -> None:
        """Keep seconds of send.

        Args:
            keys: of the seconds.
            sends: float32 [len(keys), QUARTER_BLOCK], or a view of as many numbers.
        """
        _write(self.sends.view(-1, *sends.shape[1:]), self.claim(keys), sends)
        # Not before: another thread would make its reverb of what was in the slot until now.
        with self._lock:
            self._stored.update(key for key in keys if key in self._slots)

    def touch(self, keys: list[Key]) -> None:
        """Keep seconds longer, if they are there: they will be read soon."""
        with self._lock:
            for key in keys:
                slot = self._slots.pop(key, None)
                if slot is not None:
                    self._slots[key] = slot

    def store_spectra(self, keys: list[Key]) -> None:
        """Compute and keep the spectra of the windows that end with `keys`; their sends and the two before are kept."""
        if not keys:
            return
        windows = self.sends.new_empty((len(keys), WINDOW_FRAMES))
        end = 0
        for back, sends in ((2, self.sends[:, QUARTER_BLOCK - HISTORY_FRAMES :]), (1, self.sends), (0, self.sends)):
            slots = self.slots((stream, second - back) for stream, second in keys)
            begin, end = end, end + sends.shape[1]
            torch.index_select(sends, 0, upload_index(slots, sends.device), out=windows[:, begin:end])
        transformed = spectrum(windows)
        # What fills a slot up to a round length is never written, and zero.
        _write(self.spectra[:, 0, :BINS], slots, transformed.real)
        _write(self.spectra[:, 1, :BINS], slots, transformed.imag)
        self._with_spectrum.update(keys)

    def forget(self, rendered: dict[str, int]) -> None:
        """Drop what the next blocks will not need.

        Args:
            rendered: the latest second of each stream that has just been rendered.
        """
        if not rendered:
            return
        newest = max(rendered.values())
        with self._lock:
            for stream, latest in rendered.items():
                second = latest - KEEP_SECONDS
                while (stream, second) in self._slots:
                    self._drop((stream, second))
                    second -= 1
            # Looking at all streams once a second is enough; batches overlap by a second or a few.
            if self._forgot_at is not None and self._forgot_at - FORGET_SECONDS < newest <= self._forgot_at:
                return
            self._forgot_at = newest
            horizon = newest - FORGET_SECONDS
            stale = [
                key for key in self._slots if key[1] < horizon or key[1] <= rendered.get(key[0], key[1]) - KEEP_SECONDS
            ]
            for key in stale:
                self._drop(key)

    def _drop(self, key: Key) -> None:
        self._stored.discard(key)
        self._with_spectrum.discard(key)
        self._free.append(self._slots.pop(key))


def _write(rows: Tensor, slots: list[int], values: Tensor) -> None:
    """Write `values` into the `slots` of `rows`."""
    if rows.device.type == "cpu":
        # Torch, and numpy with a list of places, find theirs anew for each number.
        there = rows.numpy()
        for slot, value in zip(slots, values.numpy(), strict=True):
            there[slot] = value
    else:
        rows.index_copy_(0, upload_index(slots, rows.device), values)


def _zeros(shape: tuple[int, ...], device: torch.device) -> Tensor:
    if device.type == "cpu":
        # Numpy leaves it to the system to bring the pages when they are written; torch writes them all.
        return torch.from_numpy(np.zeros(shape, dtype=np.float32))
    return torch.zeros(shape, device=device)
