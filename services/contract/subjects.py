"""Names on the bus: subjects, JetStream streams, consumers. Pure.

One place, so that NATS permissions can be checked against it.
"""

from __future__ import annotations

import re
from typing import Final, Literal

Lane = Literal["now", "ahead"]
"""`now` is for a new listener's or a splice's first blocks, `ahead` for everything else."""
LANES: Final[tuple[Lane, ...]] = ("now", "ahead")

RENDER_STREAM: Final = "RENDER"
RENDER_SUBJECTS: Final = "auralis.render.>"
AUDIO_STREAM: Final = "AUDIO"
AUDIO_SUBJECTS: Final = "auralis.audio.>"

PRESENCE: Final = "auralis.presence.synthesis"
"""Every synthesis worker says once a second what it can do (see presence.py)."""
ROLL_CALL: Final = "auralis.roll-call"
"""An edge that has just started asks all workers to say it at once."""
SCRAPE: Final = "auralis.scrape"
"""Telemetry asks; every instance answers on the reply subject (see scrape.py)."""

POISON_BUCKET: Final = "auralis-poison"
"""Key-value bucket: stream id -> failures to render it. Its entries expire after five minutes."""

_TOKEN = re.compile(r"[a-z0-9-]+")


def render(revision: str, lane: Lane, stream_id: str, block: int) -> str:
    """Where a block of `stream_id` is asked for: `auralis.render.<revision>.<lane>.<stream id>.<block>`.

    Each block has a subject of its own, of which the queue holds one message: what waits, or is being rendered, cannot
    be asked for again. Without that, repeated asks would fill an overloaded queue with copies of what is late already.
    """
    return f"auralis.render.{_token(revision)}.{lane}.{_token(stream_id)}.{block:d}"


def render_filter(revision: str, lane: Lane) -> str:
    """What a worker's consumer for one lane selects."""
    return f"auralis.render.{_token(revision)}.{lane}.>"


def render_consumer(revision: str, lane: Lane) -> str:
    """The durable consumer's name for one lane of one revision."""
    return f"{lane}-{_token(revision)}"


def audio(stream_id: str) -> str:
    """Where the blocks of `stream_id` are delivered: `auralis.audio.<stream id>`."""
    return f"auralis.audio.{_token(stream_id)}"


def ask_id(lane: Lane, stream_id: str, block: int, attempt: int) -> str:
    """The `Nats-Msg-Id` of an ask. All edges compute the same one, so JetStream keeps one ask."""
    return f"{lane}.{stream_id}.{block}.{attempt}"


def inboxes(user: str) -> str:
    """What the subjects begin with on which `user` is answered.

    Each user has subjects of its own, so that a server can keep one from hearing what another is told.

    Args:
        user: who signs in to the bus; empty, or no plain name: the subjects that everybody shares.
    """
    return f"_INBOX.{user}" if re.fullmatch(r"[A-Za-z0-9_-]+", user) else "_INBOX"


def _token(text: str) -> str:
    # A dot, star or space here would be somebody else's subject.
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"subject token: got {text!r}, expected [a-z0-9-]+")
    return text
