"""Pure. Noise without state: a hash of (seed, absolute frame)."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SPREAD: Final = 0x9E3779B1 - 2**32
"""2**32 / golden ratio as a signed 32-bit number: multiples of it lie far apart."""
# Odd factors that spread low bits over the word (the finalizer "lowbias32"), as signed 32-bit numbers.
_MIX_1: Final = 0x7FEB352D
_MIX_2: Final = 0x846CA68B - 2**32


def scramble[Words: (Tensor, NDArray[np.int32])](counter: Words, seed: Words) -> Words:
    """32 hash bits of each (counter, seed): int32 in, int32 out, broadcasting. The sound's only noise and chance.

    Torch and numpy give the same bits. Both shift signed words arithmetically, so that the sign's copies are masked.
    """
    x = (counter * SPREAD) ^ seed
    x = (x ^ ((x >> 16) & 0xFFFF)) * _MIX_1
    x = (x ^ ((x >> 15) & 0x1FFFF)) * _MIX_2
    return x ^ ((x >> 16) & 0xFFFF)


def triangular(counter: Tensor, seed: Tensor) -> Tensor:
    """Noise in (-1, 1) of triangular density: the sum of the two halves of one hash."""
    bits = scramble(counter, seed)
    return ((bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) - 0xFFFF).to(torch.float32) * 2.0**-16
