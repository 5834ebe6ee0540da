"""Pure. What a kernel is: a function of tensors, six of which make the sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from torch import Tensor

Progress = Callable[[str, float], None]
"""Told a stage and how much of the work is done, 0 to 1."""

KERNEL_NAMES: Final = ("low", "finish_bright", "finish", "expand", "high", "wet")
"""In the order in which they are built: the slow ones first."""


class KernelError(RuntimeError):
    """A kernel could not be built or opened; the message says why and what to do."""


class Kernel(Protocol):
    """A compiled or eager function of tensors."""

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        """Run it; the result is a list or tuple even of one tensor."""
        ...


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels, ready to run.

    Attributes:
        mode: "compiled" or "eager".
        reason: why the mode is eager; empty if it is not.
        least: fewest rows that a call must have, and fewest partials of a row.
        expand, low, high, wet, finish, finish_bright: see `graphs`.
    """

    mode: str
    reason: str
    least: int
    expand: Kernel
    low: Kernel
    high: Kernel
    wet: Kernel
    finish: Kernel
    finish_bright: Kernel


def first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 200 characters: short enough for a log line."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
