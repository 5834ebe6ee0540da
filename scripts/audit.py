"""Fail if a pinned dependency has a known vulnerability (pip-audit).

If the database cannot be reached, one line says so, and the check passes; with AURALIS_AUDIT_REQUIRED set it fails. A
vulnerability that does not concern Auralis is listed in ACCEPTED, with the reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

REPO: Final = Path(__file__).parents[1]
LIMIT_S: Final = 120.0
"""How long the database may take."""
MAX_UNKNOWN: Final = 0.5
"""Largest share of unknown packages: pip-audit reports a package as unknown if the database does not answer."""
ACCEPTED: Final[Mapping[str, str]] = {}
"""Id of a vulnerability -> why it does not concern Auralis."""


def verdict(report: Mapping[str, Any]) -> tuple[list[str], int, int]:
    """Read pip-audit's JSON.

    Returns:
        A line for each vulnerability, the number of packages, and how many of them the database does not know.
    """
    lines: list[str] = []
    unknown = 0
    dependencies = report["dependencies"]
    for dependency in dependencies:
        if "skip_reason" in dependency:
            unknown += 1
            continue
        for found in dependency["vulns"]:
            names = {found["id"], *found.get("aliases", ())}
            if names & set(ACCEPTED):
                continue
            fixed = ", ".join(found["fix_versions"]) or "no version yet"
            lines.append(f"{dependency['name']} {dependency['version']}: {found['id']}; fixed in {fixed}")
    return lines, len(dependencies), unknown


def not_done(why: str) -> int:
    """Say that nothing was checked; returns the exit status."""
    required = bool(os.environ.get("AURALIS_AUDIT_REQUIRED"))
    print(f"audit: not done: {why}" + ("" if required else " (dependencies were not checked for vulnerabilities)"))
    return 1 if required else 0


def main() -> int:
    """Run the check; returns the exit status."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(REPO / "constraints.txt")]
    options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and arguments
            [*command, *options], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return not_done(f"the database did not answer within {LIMIT_S:.0f} s")
    try:
        lines, looked_up, unknown = verdict(json.loads(done.stdout))
    except (ValueError, KeyError):
        reason = done.stderr.strip().splitlines()
        message = textwrap.shorten(reason[-1], 200, placeholder=" …") if reason else "without a message"
        return not_done(f"pip-audit ended with {done.returncode}: {message}")
    if lines:
        print("\n".join(lines))
        print(
            f"audit: {len(lines)} known vulnerabilities; raise the version in constraints.txt, or list it in ACCEPTED"
        )
        return 1
    if unknown > MAX_UNKNOWN * looked_up:
        return not_done(
            f"the database does not know {unknown} of {looked_up} packages, so it cannot be reached from here"
        )
    print(f"audit: {looked_up - unknown} packages without a known vulnerability, {unknown} not in the database")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
