"""The table in docs/reliability.md, from the marks of the tests and the figures of a run."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from tests.faults.support import Row
from tests.support.system import REPO

PAGE = REPO / "docs" / "reliability.md"
BEGIN, END = "<!-- table: written by scripts/reliability -->", "<!-- end of the table -->"
FOLDER = Path(__file__).parent
_HEADINGS = {
    "test_renderers.py": "Renderers",
    "test_bus.py": "The bus",
    "test_edges.py": "Edges and connections",
    "test_clocks.py": "Clocks and sleep",
    "test_load.py": "Load",
    "test_rogues.py": "Wrong messages on the bus",
    "test_upgrade.py": "Upgrades",
}


def rows() -> dict[str, dict[str, Row]]:
    """File -> name of a test -> its row; parsed, not imported, because torch takes seconds."""
    return {file.name: found for file in sorted(FOLDER.glob("test_*.py")) if (found := _rows_of(file))}


def _rows_of(file: Path) -> dict[str, Row]:
    found: dict[str, Row] = {}
    tree = ast.parse(file.read_text())
    names = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    for node in tree.body:
        if not isinstance(node, ast.AsyncFunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "fault":
                words = {each.arg: _text(each.value, names) for each in mark.keywords if each.arg}
                found[node.name] = Row(_text(mark.args[0], names), words["does"], words.get("promise", ""))
    return found


def _text(node: ast.expr, names: dict[str, Any]) -> str:
    if isinstance(node, ast.JoinedStr):
        code = compile(ast.Expression(node), "<row>", "eval")
        return str(eval(code, {"__builtins__": {}}, names))  # noqa: S307 - a string of our own source
    return str(ast.literal_eval(node))


def written(page: str, result: dict[str, Any]) -> str:
    """The page with the table of a run in it."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(result)}{END}{after}"


def table(result: dict[str, Any]) -> str:
    """Markdown: one table for each file of tests."""
    measured = result["rows"]
    machine = result["machine"]
    minutes = sum(row.get("seconds", 0) for row in measured.values()) / 60
    where = f"Measured on {machine['system']}, {machine['processor']}"
    lines = ["", f"{where}; {len(measured)} faults in {minutes:.0f} minutes of tests.", ""]
    for file, heading in _HEADINGS.items():
        lines += [
            f"### {heading}",
            "",
            "| fault | what listeners notice | well again after | what Auralis does | test |",
        ]
        lines += ["|---|---|---|---|---|"]
        for name, row in rows()[file].items():
            figures = measured.get(name)
            if figures is not None and figures["verdict"] is None:
                # The test failed before anything was judged.
                figures = None
            noticed = "not measured" if figures is None else _noticed(figures["verdict"])
            again = "" if figures is None else _again(figures["verdict"])
            more = "" if figures is None or not figures["more"] else f" ({_more(figures['more'])})"
            lines.append(f"| {row.fault} | {noticed}{more} | {again} | {row.does} | `{name}` |")
        lines.append("")
    return "\n".join(lines)


def _noticed(verdict: dict[str, Any]) -> str:
    """Words for a verdict: what each listener missed on average, heard at most."""
    parts = []
    if verdict["missing"]:
        parts.append(f"{verdict['missing'] / verdict['listeners'] / 10:.1f} s of music left out")
    if verdict["silence_s"]:
        parts.append(f"{verdict['silence_s']:.1f} s of silence")
    if verdict["looped_s"]:
        parts.append(f"{verdict['looped_s']:.1f} s of the loop")
    parts += [f"{verdict[kind]} {kind}" for kind in ("repeated", "clicks", "wrong") if verdict[kind]]
    return ", ".join(parts) or "nothing"


def _again(verdict: dict[str, Any]) -> str:
    heard = _noticed(verdict) != "nothing"
    return f"{verdict['recovered_s']:.1f} s" if heard and verdict["recovered_s"] else "at once"


def _more(more: dict[str, Any]) -> str:
    return ", ".join(_figure(name.replace("_", " "), value) for name, value in more.items())


def _figure(words: str, value: float) -> str:
    """A figure in words: "refused after 3.1 s", "70 bad messages"."""
    for ending, unit in ((" s", "s"), (" mb", "MB")):
        if words.endswith(ending):
            return f"{words.removesuffix(ending)} {value:g} {unit}"
    return f"{value:g} {words}"
