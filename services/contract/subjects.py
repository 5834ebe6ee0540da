"""Names on the bus: subjects, JetStream streams, consumers. Pure.

They stand in one place, so that NATS permissions can be checked against them.
"""

from __future__ import annotations

import re
from typing import Final, Literal

Lane = Literal["now", "ahead"]
"""`now` is for the first blocks of a new listener or a splice, `ahead` for all others."""
LANES: Final[tuple[Lane, ...]] = ("now", "ahead")

RENDER_STREAM: Final = "RENDER"
RENDER_SUBJECTS: Final = "auralis.render.>"
AUDIO_STREAM: Final = "AUDIO"
AUDIO_SUBJECTS: Final = "auralis.audio.>"

PRESENCE: Final = "auralis.presence.synthesis"
"""Each synthesis worker announces itself here once a second (see presence.py)."""
ROLL_CALL: Final = "auralis.roll-call"
"""An edge that has just started asks all workers here to announce themselves."""
SCRAPE: Final = "auralis.scrape"
"""Telemetry asks here; each instance answers on the reply subject (see scrape.py)."""

POISON_BUCKET: Final = "auralis-poison"
"""Key-value bucket: stream id -> number of failures to render it, for five minutes."""

_TOKEN = re.compile(r"[a-z0-9-]+")


def render(revision: str, lane: Lane, stream_id: str, block: int) -> str:
    """Subject on which a block is asked for: `auralis.render.<revision>.<lane>.<stream id>.<block>`.

    Each block has a subject of its own, and the queue holds one message of a subject. So a block that waits or is being
    rendered cannot be asked for again: repeated asks would fill an overloaded queue with copies of late jobs.
    """
    return f"auralis.render.{_token(revision)}.{lane}.{_token(stream_id)}.{block:d}"


def render_filter(revision: str, lane: Lane) -> str:
    """Subject filter of a worker's consumer for one lane."""
    return f"auralis.render.{_token(revision)}.{lane}.>"


def render_consumer(revision: str, lane: Lane) -> str:
    """Name of the durable consumer for one lane of one revision."""
    return f"{lane}-{_token(revision)}"


def audio(stream_id: str) -> str:
    """Subject on which the blocks of a stream are delivered: `auralis.audio.<stream id>`."""
    return f"auralis.audio.{_token(stream_id)}"


def ask_id(lane: Lane, stream_id: str, block: int, attempt: int) -> str:
    """The `Nats-Msg-Id` of an ask: equal on all edges, so that JetStream keeps one ask."""
    return f"{lane}.{stream_id}.{block}.{attempt}"


def inboxes(user: str, instance: str = "") -> str:
    """Prefix of the subjects on which `user`, or one instance of it, receives answers.

    Each user has a prefix of its own, so that a server can keep a user from reading the answers to another. Answers of
    JetStream arrive below an instance's prefix, where no service may publish. Answers of services, to a scrape, arrive
    below the user's prefix, a level higher.

    Args:
        user: user name on the bus; empty, or with other characters than [A-Za-z0-9_-]: the shared prefix.
        instance: name in the fleet; characters outside of [A-Za-z0-9_-] are replaced. Empty: the user's prefix.
    """
    prefix = f"_INBOX.{user}" if re.fullmatch(r"[A-Za-z0-9_-]+", user) else "_INBOX"
    return f"{prefix}.{re.sub(r'[^A-Za-z0-9_-]', '-', instance)}" if instance else prefix


def is_inbox(subject: str) -> bool:
    """Whether an answer may go to `subject`: a request could name any subject for it."""
    return subject.startswith("_INBOX.")


def _token(text: str) -> str:
    # A dot, star or space would make it another subject.
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"subject token: got {text!r}, expected [a-z0-9-]+")
    return text
