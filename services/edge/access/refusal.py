"""Pure: the refusal of a connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason for which a connection is not accepted, as an HTTP answer.

    Attributes:
        status: HTTP status.
        reason: label of the metric that counts refusals.
        text: what a person reads.
        retry_after_s: value of the header `Retry-After`; None: another try would be refused too.
    """

    status: int
    reason: str
    text: str
    retry_after_s: int | None = None
