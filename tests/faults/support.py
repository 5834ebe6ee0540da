"""The mark that carries a fault's row of the table, the place for figures, and verdicts that most faults share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.support.judge import Verdict

Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Row:
    """One fault.

    Attributes:
        fault: the event.
        does: the response of Auralis.
        promise: the matching event of the table in ARCHITECTURE.md; empty: none.
    """

    fault: str
    does: str
    promise: str = ""


def fault(what: str, *, does: str, promise: str = "") -> Callable[[Test], Test]:
    """Mark a test with its row of the table in docs/reliability.md."""

    def mark(test: Test) -> Test:
        test.row = Row(what, does, promise)  # type: ignore[attr-defined]
        return test

    return mark


@dataclass
class Figures:
    """Figures of one test.

    Attributes:
        verdict: of the judge on its listeners.
        more: further figures, by name.
    """

    verdict: Verdict | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"verdict": self.verdict.to_json() if self.verdict else None, "more": self.more}


def uninterrupted(verdict: Verdict) -> bool:
    """Assert that the music went on for all: nothing missing, repeated, silent, clicking or foreign."""
    troubles = (verdict.missing, verdict.repeated, verdict.silence_s, verdict.clicks, verdict.wrong)
    assert troubles == (0, 0, 0, 0, 0), verdict
    return True


def unnoticed(verdict: Verdict) -> bool:
    """Assert that no listener noticed anything: the music went on, and never as a loop."""
    assert uninterrupted(verdict)
    assert verdict.looped_s == 0, verdict
    return True


async def listen_on(seconds: float) -> None:
    """Let the fault last, or the music go on, for `seconds` while the recorders listen.

    The pause is the experiment: a fault has a length, and the judge needs recorded music after it.
    """
    await asyncio.sleep(seconds)
