"""Bounds that both adapters of the bus hold, and what happens at each. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class BusLimits:
    """Bounds of a bus connection and of the two streams.

    Attributes:
        render_max_age_s: an ask that nobody took for so long is forgotten ("expired"): its block is due.
        render_max_bytes: asks waiting in all; a further one is refused with BusFullError ("newest refused").
        audio_messages_per_subject: blocks kept of each stream ("oldest dropped").
        audio_max_bytes: blocks kept in all ("oldest dropped"); halved until the server takes it.
        audio_max_age_s: a block nobody can want any more is forgotten, so that unheard streams cost no memory.
        subscription_messages, subscription_bytes: what waits for one callback ("subscription_oldest").
        publish_backlog_bytes: what waits for the network; a further message is lost ("publish_backlog").
        late_jobs: jobs that arrived after their fetch had ended and wait for the next ("late_jobs": given back).
        gather_messages: answers waiting to be read ("gather_newest").
    """

    render_max_age_s: float = 5.0
    render_max_bytes: int = 16 * MIB
    audio_messages_per_subject: int = 20
    audio_max_bytes: int = 1024 * MIB
    audio_max_age_s: float = 60.0
    subscription_messages: int = 512
    subscription_bytes: int = 16 * MIB
    publish_backlog_bytes: int = 16 * MIB
    late_jobs: int = 256
    gather_messages: int = 1024


def subject_matches(pattern: str, subject: str) -> bool:
    """Whether a NATS subject filter (`*` one token, `>` the rest, at least one) selects `subject`."""
    if pattern == subject:
        return True
    wanted, tokens = pattern.split("."), subject.split(".")
    for index, wish in enumerate(wanted):
        if wish == ">":
            return len(tokens) > index
        if index >= len(tokens) or wish not in ("*", tokens[index]):
            return False
    return len(wanted) == len(tokens)
