"""Bounds that both adapters of the bus hold, and what happens at each. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIB: Final = 2**20


@dataclass(frozen=True, slots=True)
class BusLimits:
    """Bounds of a bus connection and of the two streams.

    Attributes:
        render_max_age_s: seconds after which an ask that no worker took is dropped; its block is due by then.
        render_max_bytes: bytes of all asks; a further ask is refused with BusFullError.
        audio_messages_per_subject: blocks kept of each stream; of more the oldest is dropped.
        audio_max_bytes: bytes of all blocks; of more the oldest is dropped. Halved until the server accepts it.
        audio_max_age_s: seconds that a block is kept, so that streams without listeners take no memory.
        subscription_messages, subscription_bytes: messages that wait for a callback; of more the oldest is dropped
            and counted as "subscription_oldest".
        publish_backlog_bytes: bytes that wait for the network; a further message is dropped and counted as
            "publish_backlog".
        late_jobs: jobs that arrived after their fetch had ended; a further job is given back and counted as
            "late_jobs".
        gather_messages: answers that wait to be read; a further one is dropped and counted as "gather_newest".
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
