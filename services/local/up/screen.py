"""Writes to the terminal from a thread of its own (shell).

A blocked terminal (Ctrl-S, a pager) therefore never blocks the services.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, override

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from services.local.processes.log_lines import LEVELS, LogLine

MAX_WAITING: Final = 1000
"""Lines that wait for a slow terminal; overflow: the oldest are dropped and counted on the screen."""

_NAME_WIDTH: Final = 9
"""Characters of the column of names."""
_BAR_STEPS: Final = 1000
_COLOURS: Final[Mapping[str, str]] = {"nats": "yellow", "synthesis": "magenta", "edge": "cyan", "telemetry": "green"}
_LEVEL_STYLES: Final[Mapping[int, str]] = {
    LEVELS["debug"]: "dim", LEVELS["warning"]: "yellow", LEVELS["error"]: "red", LEVELS["critical"]: "bold red",
}  # fmt: skip


class UpConsole(Console):
    """A console whose reader may go away (`auralis up | head`) while the music goes on."""

    @override
    def on_broken_pipe(self) -> None:
        self.quiet = True
        if self.file is sys.stdout:
            # Otherwise the interpreter reports a broken pipe when it flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Screen:
    """Prints from a thread of its own; no method waits for the terminal, except `close`.

    Args:
        console: where to print. Progress is a bar on a terminal; elsewhere it is one line a stage.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._waiting: deque[Callable[[], None]] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._closing = False
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}
        self._stages: dict[str, str] = {}
        self._thread = threading.Thread(target=self._work, name="screen", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that were dropped because the terminal was too slow, so far."""
        return self._dropped

    def say(self, text: str = "", style: str = "", *, mark: str = "", mark_style: str = "green") -> None:
        """Print a line of `auralis up` itself, with a mark (✓, !, ✗) before it."""
        line = Text.assemble((f"{mark} " if mark else "", mark_style), (text, style))
        self._put(lambda: self._print(line))

    def log(self, name: str, line: LogLine) -> None:
        """Print a child's line, after the child's name."""
        style = _LEVEL_STYLES.get(line.level, "")
        head = (f"{name:<{_NAME_WIDTH}} │ ", _COLOURS.get(name, "blue"))
        # `from_ansi` keeps a child's colours; Rich would print its other control sequences as they are.
        body = Text.from_ansi(line.text, style=style)
        text = Text("\n").join(Text.assemble(head, part) for part in body.split("\n", allow_blank=True))
        self._put(lambda: self._print(text))

    def raw(self, text: str) -> None:
        """Print a line unchanged."""
        self._put(lambda: self._print(Text(text)))

    def progress(self, name: str, stage: str, fraction: float) -> None:
        """Show the progress of `name`: its stage, and a fraction from 0 to 1."""
        self._put(lambda: self._show_progress(name, stage, fraction))

    def end_progress(self, name: str) -> None:
        """Remove the bar of `name`, if it has one."""
        self._put(lambda: self._end_bar(name))

    def close(self, timeout_s: float = 2.0) -> None:
        """Print the lines that wait, for at most `timeout_s`."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)

    def _put(self, work: Callable[[], None]) -> None:
        with self._changed:
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(work)
            self._changed.notify()

    def _work(self) -> None:
        reported = 0
        while True:
            with self._changed:
                while not self._waiting and not self._closing:
                    self._changed.wait()
                if not self._waiting:
                    break
                work = self._waiting.popleft()
                dropped = self._dropped
            # The music goes on if the terminal is closed, or the disk behind a redirection is full.
            with contextlib.suppress(OSError):
                if dropped > reported:
                    self._print(Text(f"({dropped - reported} lines not shown: the terminal was too slow)", "yellow"))
                    reported = dropped
                work()
        with contextlib.suppress(OSError):
            self._end_bars()

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)

    def _show_progress(self, name: str, stage: str, fraction: float) -> None:
        if not self._console.is_terminal:
            if self._stages.get(name) != stage:
                self._stages[name] = stage
                self._print(Text(f"  {name}: {stage} …"))
            return
        if self._progress is None:
            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._progress.start()
        description = f"{name}: {stage}"
        if name in self._bars:
            self._progress.update(self._bars[name], completed=round(_BAR_STEPS * fraction), description=description)
        else:
            self._bars[name] = self._progress.add_task(
                description, total=_BAR_STEPS, completed=round(_BAR_STEPS * fraction)
            )

    def _end_bar(self, name: str) -> None:
        self._stages.pop(name, None)
        bar = self._bars.pop(name, None)
        if bar is not None and self._progress is not None:
            self._progress.remove_task(bar)
            if not self._bars:
                self._end_bars()

    def _end_bars(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._bars.clear()
