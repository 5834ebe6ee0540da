"""Prometheus text expositions: strict parsing, and merging with labels that name the instance. Pure.

Samples stay text: a fleet of hundreds of instances is merged several times a minute, and converting numbers to floats
and back would take ten times as long.
"""

from __future__ import annotations

import functools
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

MAX_SAMPLES: Final = 20_000
"""Samples of an exposition; more are an error."""
MAX_LINE: Final = 2_000
"""Characters of a line; more are an error. Ours have a tenth of that, and the parser remembers the start of lines."""
_TYPES: Final = frozenset({"counter", "gauge", "histogram", "summary", "untyped"})
_SUFFIXES: Final[Mapping[str, tuple[str, ...]]] = {
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("", "_sum", "_count"),
}
_NAME: Final = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL: Final = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
# Each digit can match in one way only; otherwise a long string of digits that is no number would take quadratic time.
_VALUE: Final = r"(?:[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?|Inf|inf)|NaN|nan)"
_SAMPLE: Final = re.compile(rf"({_NAME})(?:\{{((?:{_LABEL})(?:,{_LABEL})*)?,?\}})?[ \t]+({_VALUE})(?:[ \t]+-?[0-9]+)?")
_NUMBER: Final = re.compile(_VALUE)
_COMMENT: Final = re.compile(rf"# (HELP|TYPE) ({_NAME})(?: (.*))?")
_PAIR: Final = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')


class ExpositionError(ValueError):
    """The text is not an exposition.

    Attributes:
        line: number of the wrong line, from 1 on.
    """

    def __init__(self, line: int, observed: str, expected: str) -> None:
        self.line = line
        super().__init__(f"exposition line {line}: got {observed[:80]!r}, expected {expected}")


@dataclass(frozen=True, slots=True)
class Series:
    """A sample's name, and its labels as they stand between the braces."""

    name: str
    labels: str

    def label_values(self) -> Mapping[str, str]:
        """The labels, unescaped."""
        return _label_values(self.labels)


@dataclass(slots=True)
class Family:
    """A metric and its samples; a sample is a series and a value, which stays text."""

    name: str
    kind: str = "untyped"
    help: str = ""
    samples: list[tuple[Series, str]] = field(default_factory=list)


Exposition = Mapping[str, Family]
Location = tuple[list[tuple[Series, str]], int]
"""Where a sample is stored: its list, and its index there."""


class Parser:
    """Reads expositions, and remembers the series of each line.

    A line's prefix is its text before the value. All instances of a service have the same prefixes in each scrape, so
    that each is parsed once.

    Args:
        max_known: prefixes and comments that are remembered; overflow: all are forgotten and parsed again.
    """

    def __init__(self, max_known: int = 50_000) -> None:
        self._max_known = max_known
        self._series: dict[str, Series] = {}
        self._comments: dict[str, tuple[str, str, str] | None] = {}

    def parse(self, data: bytes) -> Exposition:
        """Read an exposition in text format 0.0.4.

        Raises:
            ExpositionError: a line is wrong, or there are too many samples.
        """
        return self.parse_lines(_lines(data), [])

    def knows(self, prefix: str) -> bool:
        """Whether a line with this prefix has been parsed."""
        return prefix in self._series

    def parse_lines(self, lines: Sequence[str], locations: list[Location | None]) -> dict[str, Family]:
        """Read an exposition that is split into lines.

        Args:
            lines: of the text.
            locations: receives the location of each line's sample; None for a line without a sample.

        Raises:
            ExpositionError: as `parse`.
        """
        if len(self._series) + len(self._comments) > self._max_known:
            self._series.clear()
            self._comments.clear()
        families: dict[str, Family] = {}
        family = Family("")
        last_name = ""
        known = self._series
        count = 0
        for number, line in enumerate(lines, 1):
            if not line:
                locations.append(None)
                continue
            if line[0] == "#":
                family = self._comment(line, number, families, family)
                last_name = ""
                locations.append(None)
                continue
            prefix, _, value = line.rpartition(" ")
            series = known.get(prefix)
            if series is None or _NUMBER.fullmatch(value) is None:
                series, value = self._read(line, number)
            # Equal names are the same string object, because each prefix is parsed once.
            if series.name is not last_name:
                last_name = series.name
                if not _belongs(last_name, family):
                    family = families.setdefault(last_name, Family(last_name))
            count += 1
            if count > MAX_SAMPLES:
                raise ExpositionError(number, line, f"at most {MAX_SAMPLES} samples")
            locations.append((family.samples, len(family.samples)))
            family.samples.append((series, value))
        return families

    def _comment(self, line: str, number: int, families: dict[str, Family], family: Family) -> Family:
        """Read a comment; returns the family that the next samples belong to."""
        if line not in self._comments:
            _check_length(line, number)
            match = _COMMENT.fullmatch(line)
            self._comments[line] = None if match is None else (match[1], match[2], match[3] or "")
        comment = self._comments[line]
        if comment is None:
            return family
        kind, name, rest = comment
        family = families.setdefault(name, Family(name))
        if kind == "HELP":
            family.help = rest
        elif rest in _TYPES:
            family.kind = rest
        else:
            raise ExpositionError(number, line, f"a type of {', '.join(sorted(_TYPES))}")
        return family

    def _read(self, line: str, number: int) -> tuple[Series, str]:
        """Read a sample whose prefix is unknown."""
        _check_length(line, number)
        match = _SAMPLE.fullmatch(line.rstrip())
        if match is None:
            raise ExpositionError(number, line, 'name{label="value"} number')
        name, labels, value = match.groups()
        series = Series(sys.intern(name), labels or "")
        prefix, _, last = line.rpartition(" ")
        # Not if a timestamp follows the value.
        if last == value and match.end(3) == len(line):
            self._series[prefix] = series
        return series, value


class Reader:
    """Reads the expositions of one instance; from one to the next mostly values change, and only those are parsed.

    Args:
        parser: shared by the readers of all instances.
    """

    def __init__(self, parser: Parser) -> None:
        self._parser = parser
        self._lines: Sequence[str] = ()
        self._locations: list[Location | None] = []
        self._families: dict[str, Family] = {}

    def read(self, data: bytes) -> Exposition:
        """Read an exposition as `Parser.parse` does. The result of an earlier call may be updated in place.

        Raises:
            ExpositionError: as `Parser.parse`; the earlier result then stays unchanged.
        """
        lines = _lines(data)
        if not self._update(lines):
            locations: list[Location | None] = []
            self._families = self._parser.parse_lines(lines, locations)
            self._locations = locations
        self._lines = lines
        return self._families

    def _update(self, lines: Sequence[str]) -> bool:
        """Update the values that differ; returns False, and changes nothing, if more than values differ."""
        before = self._lines
        if len(lines) != len(before):
            return False
        changes = []
        for line, old, location in zip(lines, before, self._locations, strict=True):
            if line is old or line == old:
                continue
            prefix, _, value = line.rpartition(" ")
            # The parser knows no prefix of a line with a timestamp.
            if location is None or _NUMBER.fullmatch(value) is None or not self._parser.knows(prefix):
                return False
            if prefix != old.rpartition(" ")[0]:
                return False
            changes.append((location, value))
        for (samples, index), value in changes:
            samples[index] = (samples[index][0], value)
        return True


def merge(parts: Iterable[tuple[Mapping[str, str], Exposition]]) -> bytes:
    """Merge several expositions into one.

    A sample's label with the name of an added one is kept as `exported_<name>`, unless their values are equal. If
    expositions disagree about a metric's type, the type of most of them holds (the first of several with equal counts),
    and the samples of the others are left out, because a metric has one type.

    Args:
        parts: (labels to add to each sample, exposition).
    """
    parts = list(parts)
    votes: dict[str, Counter[str]] = {}
    for _, exposition in parts:
        for name, family in exposition.items():
            if family.samples:
                votes.setdefault(name, Counter())[family.kind] += 1
    merged: dict[str, _Merged] = {}
    for added, exposition in parts:
        prefix = ",".join(f'{name}="{_escape(value)}"' for name, value in added.items())
        hidden = tuple(f"{name}=" for name in added)
        for name, family in exposition.items():
            whole = merged.get(name)
            if whole is None:
                kind = votes[name].most_common(1)[0][0] if name in votes else family.kind
                whole = merged[name] = _Merged(kind, "")
            if family.kind != whole.kind:
                continue
            whole.help = whole.help or family.help
            # This runs hundreds of thousands of times for a large fleet, and blocks the event loop.
            for series, value in family.samples:
                labels = series.labels
                for each in hidden:
                    if each in labels:
                        labels = _without_hidden(labels, added)
                        break
                comma = "," if labels and prefix else ""
                whole.lines.append(
                    f"{series.name}{{{prefix}{comma}{labels}}} {value}"
                    if prefix or labels
                    else f"{series.name} {value}"
                )
    lines: list[str] = []
    for name, whole in sorted(merged.items()):
        if whole.help:
            lines.append(f"# HELP {name} {whole.help}")
        lines.append(f"# TYPE {name} {whole.kind}")
        lines += whole.lines
    return ("\n".join(lines) + "\n").encode() if lines else b""


@dataclass(slots=True)
class _Merged:
    kind: str
    help: str
    lines: list[str] = field(default_factory=list)


def _without_hidden(labels: str, added: Mapping[str, str]) -> str:
    """Rename the labels that added ones would hide."""
    kept = []
    for name, value in _PAIR.findall(labels):
        if name not in added:
            kept.append(f'{name}="{value}"')
        elif _unescape(value) != added[name]:
            kept.append(f'exported_{name}="{value}"')
    return ",".join(kept)


def value(exposition: Exposition, name: str) -> float | None:
    """The sum of a counter's or gauge's samples; None without samples."""
    family = exposition.get(name)
    if family is None or not family.samples:
        return None
    return sum(float(text) for series, text in family.samples if series.name == name)


def by_label(exposition: Exposition, name: str, label: str) -> dict[str, float]:
    """A metric's values by the value of one of its labels."""
    values: dict[str, float] = {}
    family = exposition.get(name)
    for series, text in family.samples if family else ():
        key = series.label_values().get(label)
        if key is not None and series.name == name:
            values[key] = values.get(key, 0.0) + float(text)
    return values


def _check_length(line: str, number: int) -> None:
    if len(line) > MAX_LINE:
        raise ExpositionError(number, line, f"at most {MAX_LINE} characters")


def _lines(data: bytes) -> list[str]:
    try:
        return data.decode().split("\n")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise ExpositionError(number, repr(data[error.start :][:20]), "UTF-8") from error


@functools.lru_cache(maxsize=20_000)
def _label_values(labels: str) -> Mapping[str, str]:
    return {name: _unescape(value) for name, value in _PAIR.findall(labels)}


def _belongs(name: str, family: Family) -> bool:
    suffixes: Sequence[str] = _SUFFIXES.get(family.kind, ("",))
    return name.startswith(family.name) and name[len(family.name) :] in suffixes and family.name != ""


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text)
