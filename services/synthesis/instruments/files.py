"""The tables beside this module (shell: reads them)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from services.synthesis.instruments.bank import Bank, build_bank
from services.synthesis.instruments.table import MeasuredInstrument, decode

FOLDER: Final = Path(__file__).parent
SUFFIX: Final = ".table"


def load(name: str) -> MeasuredInstrument:
    """The instrument of a table.

    Raises:
        FileNotFoundError: there is no such table; the message names those that are there.
    """
    path = FOLDER / f"{name}{SUFFIX}"
    if not path.is_file():
        raise FileNotFoundError(f"instrument {name!r}: no table {path.name}; expected one of {', '.join(names())}")
    return decode(path.read_bytes())


def names() -> list[str]:
    """Names of all tables, sorted."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


@cache
def load_bank() -> Bank:
    """The bank of all tables; the first call takes about half a second."""
    return build_bank([load(name) for name in names()])
