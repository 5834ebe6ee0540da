"""Pure, but for what torch finds on this machine. Which device renders."""

from __future__ import annotations

from typing import Final, Literal

import torch

Choice = Literal["auto", "mps", "cuda", "cpu"]

_NAMES: Final = {"mps": "Metal (MPS)", "cuda": "CUDA"}


class DeviceError(RuntimeError):
    """The device that was asked for does not exist; the message names those that do."""


class AutoDeviceSelector:
    """Picks Apple's GPU, then NVIDIA's, then the CPU.

    Args:
        choice: "auto", or the only device to accept (`AURALIS_DEVICE`).
    """

    def __init__(self, choice: Choice = "auto") -> None:
        self._choice = choice

    def available(self) -> tuple[str, ...]:
        """Devices that this machine has, best first."""
        found = []
        if torch.backends.mps.is_available():
            found.append("mps")
        if torch.cuda.is_available():
            found.append("cuda")
        return (*found, "cpu")

    def select_device(self) -> torch.device:
        """The device to render on.

        Raises:
            DeviceError: one was asked for by name and does not exist.
        """
        available = self.available()
        if self._choice == "auto":
            return torch.device(available[0])
        if self._choice not in available:
            raise DeviceError(
                f"AURALIS_DEVICE: got {self._choice!r}, but there is no {_NAMES.get(self._choice, self._choice)} here"
                f" that torch {torch.__version__} can use{self._reason()}; set it to auto or to one of"
                f" {', '.join(available)}"
            )
        return torch.device(self._choice)

    def _reason(self) -> str:
        """Why torch cannot use CUDA, if that was asked for."""
        if self._choice != "cuda":
            return ""
        built = "it finds no NVIDIA GPU with a driver, see `nvidia-smi`"
        return f" ({built if torch.version.cuda else 'it was built without CUDA'})"
