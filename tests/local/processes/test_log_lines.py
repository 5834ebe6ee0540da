import json

from hypothesis import given
from hypothesis import strategies as st

from services.local.processes.log_lines import LEVELS, MAX_LINE_BYTES, LineSplitter, read_line


def test_a_json_event_is_read_with_its_level_and_fields() -> None:
    raw = b'{"event": "progress", "level": "warning", "stage": "voices", "fraction": 0.25, "service": "synthesis"}'
    line = read_line(raw)
    assert (line.event, line.level) == ("progress", LEVELS["warning"])
    assert line.fields["fraction"] == 0.25
    assert line.text == "progress stage=voices fraction=0.25"
    assert line.raw == raw.decode()


def test_values_with_spaces_are_quoted_and_a_traceback_follows_on_lines_of_its_own() -> None:
    value = {"event": "crash", "level": "error", "detail": "a b", "exception": "Traceback:\n  line 1"}
    assert read_line(json.dumps(value).encode()).text == "crash detail='a b'\nTraceback:\n  line 1"


def test_text_from_clients_neither_begins_a_line_nor_controls_the_terminal() -> None:
    value = {"event": "bad message", "detail": "x\nready", "more": "\x1b[2J\u2028\x9b"}
    text = read_line(json.dumps(value).encode()).text
    assert text == r"bad message detail='x\nready' more='\x1b[2J\u2028\x9b'"
    assert text.isprintable()


def test_any_other_line_is_shown_unchanged() -> None:
    for raw in (b"plain", b"{not json", b'{"no": "event"}', b'{"event": 3}', b"[1, 2]"):
        line = read_line(raw)
        assert (line.text, line.level, line.event) == (raw.decode(), LEVELS["info"], "")


def test_bytes_that_are_not_utf_8_are_shown_as_replacement_characters() -> None:
    assert read_line(b"\xe9t\xe9").text == "\ufffdt\ufffd"


@given(text=st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=8), cut=st.integers(1, 17))
def test_lines_do_not_depend_on_how_the_bytes_arrive(text: list[bytes], cut: int) -> None:
    data = b"".join(line + b"\n" for line in text)
    splitter = LineSplitter()
    got = [line for at in range(0, len(data), cut) for line in splitter.feed(data[at : at + cut])]
    assert got + splitter.end() == text


def test_a_last_line_without_a_newline_is_returned_at_the_end() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntwo") == [b"one"]
    assert splitter.end() == [b"two"]


def test_an_endless_line_is_cut_once_and_the_next_line_is_whole() -> None:
    splitter = LineSplitter()
    lines = [line for _ in range(100) for line in splitter.feed(b"x" * 1000)]
    lines += splitter.feed(b"tail\nnext\n")
    assert len(lines) == 2
    assert lines[0].startswith(b"x" * MAX_LINE_BYTES)
    assert "cut" in lines[0].decode()
    assert lines[1] == b"next"


def test_a_long_line_that_arrives_in_one_piece_is_cut_too() -> None:
    (line,) = LineSplitter().feed(b"y" * (MAX_LINE_BYTES + 1) + b"\n")
    assert line == b"y" * MAX_LINE_BYTES + " … (cut)".encode()
