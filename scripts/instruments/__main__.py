"""Measure instruments and write their tables: `scripts/measure-instruments [NAME...]`. (shell)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from scripts.instruments.catalogue import RECIPES
from scripts.instruments.recording import MissingToolError, check_tools, record
from scripts.instruments.writing import table
from services.synthesis.instruments.files import FOLDER, SUFFIX

_NOTICE = """The tables in this folder hold measurements (levels and phases of partials) of recorded notes.
They were made by scripts/measure-instruments from Debian's packages fluid-soundfont-gm and musescore-general-soundfont.

"""


_MIT: Final = """
The MIT licence of FluidR3 GM (Copyright (c) 2000-2002, 2008 Frank Wen) and of MuseScore General (Copyright (c)
2018-2021 S. Christian Collins):

Permission is hereby granted, free of charge, to any person
obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without
restriction, including without limitation the rights to use,
copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following
conditions:

The above copyright notice and this permission notice shall be
included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND,
EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES
OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT
HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY,
WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING
FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR
OTHER DEALINGS IN THE SOFTWARE.
"""


def main(names: Sequence[str]) -> int:
    """Measure the instruments `names`, or all; the process's exit code."""
    known = [recipe.name for recipe in RECIPES]
    if unknown := [name for name in names if name not in known]:
        print(f"no instrument {', '.join(unknown)}; expected some of {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = [recipe for recipe in RECIPES if not names or recipe.name in names]
    try:
        check_tools(tuple(source for recipe in chosen for source in recipe.sources))
    except MissingToolError as error:
        print(error, file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    for recipe in chosen:
        loud, soft = (
            {pitch: sound for source in recipe.sources for pitch, sound in record(source, velocity).items()}
            for velocity in (recipe.loud, recipe.soft)
        )
        data = table(recipe, loud, soft)
        (FOLDER / f"{recipe.name}{SUFFIX}").write_bytes(data)
        print(f"{recipe.name}: {len(loud)} notes, {len(data) / 1e3:.0f} KB", flush=True)
    (FOLDER / "NOTICE").write_text(notice())
    return 0


def notice() -> str:
    """Who recorded what: the NOTICE beside the tables."""
    sources = sorted({recipe.credit for recipe in RECIPES})
    lines = [
        f"{credit}:\n    {', '.join(recipe.name for recipe in RECIPES if recipe.credit == credit)}"
        for credit in sources
    ]
    return _NOTICE + "\n".join(lines) + "\n" + _MIT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
