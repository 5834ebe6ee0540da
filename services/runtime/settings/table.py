"""The settings as a table for documentation (shell: imports the variables)."""

from __future__ import annotations

from dataclasses import dataclass

from services.runtime.settings.variables import VARIABLES


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of the settings table: what documentation is made of.

    Attributes:
        name: the environment variable.
        default: what holds without it, as it would be written; "" where there is nothing.
        meaning: one sentence, with the values that are taken.
    """

    name: str
    default: str
    meaning: str


def settings_table() -> tuple[SettingRow, ...]:
    """Every variable with its default and meaning, in the order in which they should be shown."""
    return tuple(SettingRow(v.name, v.default, v.meaning) for v in VARIABLES)


def settings_markdown() -> str:
    """`settings_table` as a Markdown table."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for row in settings_table():
        default = f"`{row.default}`" if row.default else ""
        meaning = row.meaning.replace("|", "\\|")
        lines.append(f"| `{row.name}` | {default} | {meaning} |")
    return "\n".join(lines) + "\n"
