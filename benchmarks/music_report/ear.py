"""An outside ear: a program of published music taggers that compares WAV files with music by people (shell).

The report calls it and reads what it prints; nothing of it is kept here. It is told `report GROUP=FOLDER...`, and
prints a line for each file (`GROUP/NAME people organ person distance rms step`) and one for each group.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.music_report.studio import NotMeasuredError

_NUMBER: Final = r"(-?[\d.]+|nan)"
_FILE: Final = re.compile(rf"^(\S+)/(\S+) +{_NUMBER} +{_NUMBER} +(\S+) +{_NUMBER} +{_NUMBER} +{_NUMBER}$")
_GROUP: Final = re.compile(rf"^(\S+): \d+ together from people {_NUMBER}; {_NUMBER} apart$")
_LIMIT_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Heard:
    """What the ear says of a file.

    Attributes:
        people: distance from all music by people together.
        organ: from the plain sine organ.
        nearest, person: from the nearest piece by a person, and its name.
        rms, step: how much the file moves: from its mean, and from three seconds to the next.
    """

    people: float
    organ: float
    nearest: float
    person: str
    rms: float
    step: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the ear says.

    Attributes:
        files: by (group, name).
        together: by group, distance of all its files together from people.
        apart: by group, how different its files are.
    """

    files: dict[tuple[str, str], Heard]
    together: dict[str, float]
    apart: dict[str, float]


def listen(jury: Path | None, groups: dict[str, Path]) -> Verdict:
    """Ask the ear.

    Args:
        jury: folder of the program `jury`; None where none was named.
        groups: folders of WAV files by name.

    Raises:
        NotMeasuredError: there is no ear, or it fails.
    """
    if jury is None:
        raise NotMeasuredError("no outside ear was named (--jury DIR)")
    program = jury / "jury"
    if not program.is_file():
        raise NotMeasuredError(f"--jury: got {jury}, expected a folder that holds the program `jury`")
    try:
        done = subprocess.run(  # noqa: S603 - the program that was named
            [str(program.resolve()), "report", *(f"{name}={folder.resolve()}" for name, folder in groups.items())],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotMeasuredError(f"the outside ear did not answer: {error}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise NotMeasuredError(f"the outside ear ended with {done.returncode}: {last}")
    return read(done.stdout)


def read(text: str) -> Verdict:
    """Read what the ear prints.

    Raises:
        NotMeasuredError: it says nothing of any file.
    """
    verdict = Verdict({}, {}, {})
    for line in text.splitlines():
        if found := _FILE.match(line):
            group, name, people, organ, person, nearest, rms, step = found.groups()
            verdict.files[group, name] = Heard(
                float(people), float(organ), float(nearest), person, float(rms), float(step)
            )
        elif found := _GROUP.match(line):
            verdict.together[found[1]], verdict.apart[found[1]] = float(found[2]), float(found[3])
    if not verdict.files:
        raise NotMeasuredError("the outside ear said nothing of any file")
    return verdict
