"""How long to wait before connecting again. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before connecting again.

    Attributes:
        first_s, max_s: first wait in seconds, doubled with each attempt up to `max_s`.
        give_up_after_s: seconds without a connection after which the client raises.
    """

    first_s: float = 0.1
    max_s: float = 5.0
    give_up_after_s: float = 60.0

    def wait_s(self, attempt: int, chance: float) -> float:
        """Seconds before attempt `attempt` (the first is 0); `chance`, 0 to 1, spreads clients apart."""
        return min(self.max_s, self.first_s * 2.0 ** min(attempt, 30)) * (0.5 + chance / 2)


DEFAULT_BACKOFF: Final = Backoff()
