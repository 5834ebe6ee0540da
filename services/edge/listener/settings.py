"""Pure: limits of every listener of an edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.edge.listener.tiers import TierLimits
from services.edge.stream.ring import HISTORY_CHUNKS

START_WITHIN_S: Final = 10.0
"""A connection that has not sent `start` within this time is closed."""
STALLED_S: Final = 30.0
"""A connection that has taken nothing for this long is closed."""
MAX_MESSAGES_PER_S: Final = 40
"""Messages that a client may send in the long run; more close the connection with 4429."""
MESSAGE_BURST: Final = 100
"""Messages that may come in one burst."""
MAX_UPDATES_PER_S: Final = 20
"""Changes of stream that are rendered for one listener; faster changes replace each other."""
TOKEN_EVERY_S: Final = 33.0
"""How often a resume token is renewed. A token is valid for a minute, and listeners of a cohort are looked at every
five seconds: so a token outlives its connection by at least 22 s, longer than the history that it could resume in."""
BURST_CHUNKS: Final = 25
"""Chunks that the outbound limit lets pass in one burst, or the deepest tier if that is more."""
FILL_CHUNKS: Final = 3
"""Chunks that a new listener gets immediately: enough to begin playing."""
FILL_CHUNKS_PER_S: Final = 30
"""Rate at which the rest of its buffer is filled: three times as fast as it is played. A whole buffer in one burst
would only queue up in the client, ahead of everything else that the client has to read."""
MAX_LAG_CHUNKS: Final = HISTORY_CHUNKS - 2 * BURST_CHUNKS
"""How far behind the live tick a listener may resume; history must still be there while its buffer is filled."""


@dataclass(frozen=True, slots=True)
class ListenerSettings:
    """The operator's settings for all listeners of an edge.

    Attributes:
        tiers: chunks of each tier.
        chunks_per_s: outbound limit for one listener; 10 is real time.
        secret: signs resume tokens.
        fill_chunks: chunks of a buffer that are sent immediately.
        fill_chunks_per_s: rate at which the rest of the buffer is filled.
    """

    tiers: TierLimits
    chunks_per_s: float
    secret: bytes
    fill_chunks: int = FILL_CHUNKS
    fill_chunks_per_s: float = FILL_CHUNKS_PER_S
