"""What every test of a fault uses: the mark that carries its row of the table, and the place where figures go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.support.ears import Verdict

Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Row:
    """One fault.

    Attributes:
        fault: what happens.
        does: what Auralis does about it.
        promise: the event of ARCHITECTURE.md's table that this is; empty: none of them.
    """

    fault: str
    does: str
    promise: str = ""


def fault(what: str, *, does: str, promise: str = "") -> Callable[[Test], Test]:
    """Say what a test's fault is, for the table in docs/reliability.md."""

    def mark(test: Test) -> Test:
        test.row = Row(what, does, promise)  # type: ignore[attr-defined]
        return test

    return mark


@dataclass
class Figures:
    """What one test has measured.

    Attributes:
        verdict: what its listeners heard.
        more: further figures, by name.
    """

    verdict: Verdict | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"verdict": self.verdict.to_json() if self.verdict else None, "more": self.more}


def whole(verdict: Verdict) -> bool:
    """Whether the music went on for all of them: nothing missing, twice, silent, clicking or foreign."""
    troubles = (verdict.missing, verdict.repeated, verdict.silence_s, verdict.clicks, verdict.wrong)
    assert troubles == (0, 0, 0, 0, 0), verdict
    return True


def unheard(verdict: Verdict) -> bool:
    """Whether nobody noticed anything: the music went on, and never as a loop."""
    assert whole(verdict)
    assert verdict.looped_s == 0, verdict
    return True
