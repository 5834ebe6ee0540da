import io
import threading
import time

from rich.console import Console

from services.local.processes.log_lines import LEVELS, LogLine
from services.local.up.screen import MAX_WAITING, Screen, UpConsole


class Blocked(io.StringIO):
    """A terminal that blocks until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.reached = threading.Event()

    def write(self, text: str) -> int:
        self.reached.set()
        self.released.wait(30)
        return super().write(text)


class Gone(io.StringIO):
    """A pipe whose reader went away."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_blocked_terminal_blocks_no_caller_and_the_oldest_lines_are_dropped_and_counted() -> None:
    out = Blocked()
    screen = Screen(Console(file=out, width=80))
    screen.say("first")
    assert out.reached.wait(10)
    for number in range(MAX_WAITING + 7):
        screen.say(f"line {number}")
    assert screen.dropped == 7
    out.released.set()
    screen.close(10)
    lines = out.getvalue().splitlines()
    assert lines[0] == "first"
    assert lines[1] == "(7 lines not shown: the terminal was too slow)"
    assert lines[2] == "line 7"
    assert lines[-1] == f"line {MAX_WAITING + 6}"


def test_closing_waits_no_longer_than_its_timeout_for_a_blocked_terminal() -> None:
    out = Blocked()
    screen = Screen(Console(file=out))
    screen.say("never seen")
    assert out.reached.wait(10)
    began_s = time.monotonic()
    screen.close(0.05)
    assert time.monotonic() - began_s < 5.0
    out.released.set()


def test_a_reader_that_went_away_breaks_nothing() -> None:
    screen = Screen(UpConsole(file=Gone()))
    screen.say("one")
    screen.progress("synthesis", "voices", 0.5)
    screen.say("two")
    screen.close(10)
    assert screen.dropped == 0


def test_a_childs_line_follows_its_name_and_is_not_read_as_markup() -> None:
    out = io.StringIO()
    screen = Screen(Console(file=out, width=40))
    screen.log("edge", LogLine("[bold]listener[/bold] 1\nsecond", LEVELS["warning"]))
    screen.say("done [x]", mark="✓")
    screen.close()
    assert out.getvalue().splitlines() == ["edge      │ [bold]listener[/bold] 1", "edge      │ second", "✓ done [x]"]


def test_long_lines_are_not_wrapped_so_they_can_be_copied() -> None:
    out = io.StringIO()
    screen = Screen(Console(file=out, width=40))
    screen.say("curl " + "x" * 100)
    screen.raw("{" + "y" * 100)
    screen.close()
    assert out.getvalue().splitlines() == ["curl " + "x" * 100, "{" + "y" * 100]


def test_without_a_terminal_progress_is_a_line_for_each_stage() -> None:
    out = io.StringIO()
    screen = Screen(Console(file=out))
    for stage, fraction in (("voices", 0.1), ("voices", 0.3), ("reverb", 0.6), ("reverb", 1.0)):
        screen.progress("synthesis", stage, fraction)
    screen.end_progress("synthesis")
    screen.close()
    assert out.getvalue().splitlines() == ["  synthesis: voices …", "  synthesis: reverb …"]


def test_on_a_terminal_progress_is_a_bar_that_goes_away() -> None:
    out = io.StringIO()
    screen = Screen(Console(file=out, force_terminal=True, width=100, color_system=None))
    screen.progress("synthesis", "voices", 0.5)
    screen.end_progress("synthesis")
    screen.say("synthesis is ready", mark="✓")
    screen.close()
    assert "voices" in out.getvalue()
    assert "50 %" in out.getvalue()
    assert out.getvalue().rstrip("\n").splitlines()[-1].endswith("✓ synthesis is ready")
