"""Reading the settings, once, from the environment and `.env` (shell)."""

from __future__ import annotations

import difflib
import io
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from dotenv.parser import parse_stream

from services.contract.errors import shorten
from services.runtime.settings.settings import Settings
from services.runtime.settings.variables import BY_NAME, VARIABLES, Variable


class SettingsError(ValueError):
    """The environment cannot be used.

    Attributes:
        problems: one sentence for each bad variable: its name, what was seen, what is expected.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def load_settings(environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> Settings:
    """Read the settings; a variable of the environment wins over one of `.env`. Neither is changed.

    A variable that is set to nothing counts as not set: that is how compose files and charts write "no value".

    Args:
        environ: the environment; None: this process's own.
        dotenv: a file of `NAME=value` lines, read where it exists; None: none.

    Raises:
        SettingsError: with one sentence for every value that cannot be used, not only the first.
    """
    own = dict(os.environ if environ is None else environ)
    problems: list[str] = []
    from_file = _read_dotenv(dotenv, problems)
    texts = {name: text.strip() for name, text in {**from_file, **own}.items() if text.strip()}

    values: dict[str, dict[str, Any]] = {}
    for variable in VARIABLES:
        text = texts.get(variable.name)
        if text is None:
            continue
        try:
            value = variable.read(text)
        except ValueError:
            problems.append(_problem(variable, text))
            continue
        section, _, name = variable.target.rpartition(".")
        values.setdefault(section, {})[name] = value

    defaults = Settings()
    sections = {
        name: replace(getattr(defaults, name), **values[name]) for name in ("buffer", "edge", "synthesis", "nats")
        if name in values
    }  # fmt: skip
    settings = replace(defaults, **values.get("", {}), **sections, warnings=_unknown_names(texts))
    problems += _contradictions(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def load_settings_or_exit() -> Settings:
    """`load_settings`, or every problem on stderr and exit code 2."""
    try:
        return load_settings()
    except SettingsError as error:
        count = len(error.problems)
        print(f"Auralis cannot start: {count} setting{'s' if count > 1 else ''} cannot be used.", file=sys.stderr)  # noqa: T201 - before logging is set up
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)  # noqa: T201 - as above
        sys.exit(2)


# --- reading ---------------------------------------------------------------------------------------------------------


def _read_dotenv(path: Path | None, problems: list[str]) -> dict[str, str]:
    if path is None or not path.is_file():
        return {}
    try:
        lines = list(parse_stream(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: cannot be read ({error}); make it a UTF-8 file of NAME=value lines, or remove it")
        return {}
    values: dict[str, str] = {}
    for line in lines:
        # Values stay as they are written: a password may hold a dollar sign.
        if line.key is not None and line.value is not None and not line.error:
            values[line.key] = line.value
            continue
        found = _NAME_OF_LINE.match(line.original.string)
        name = found[1] if found else ""
        if name in BY_NAME:
            # The line is not shown: it may hold a password.
            problems.append(
                f"{name}: got a line that cannot be read (line {line.original.line} of {path}), expected {name}=value, "
                "in quotes that are closed or in none"
            )
    return values


_NAME_OF_LINE: Final = re.compile(r"\s*(?:export\s+)?(\w+)")


def _problem(variable: Variable, text: str) -> str:
    if variable.secret:
        seen = f"a value of {len(text)} characters (not shown)"
    elif "@" in text and "://" in text:
        seen = "an address with credentials (not shown)"
    else:
        seen = shorten(text)
    hint = ""
    if text.startswith("tcp://") and variable.name.endswith("_PORT"):
        hint = "; Kubernetes has put a service's address here: set enableServiceLinks: false on the pod"
    return f"{variable.name}: got {seen}, expected {variable.expected}{hint}"


def _contradictions(settings: Settings) -> list[str]:
    problems = []
    low, high = settings.buffer.min_capacity_ms, settings.buffer.max_capacity_ms
    if low > high:
        problems.append(
            f"BUFFER_MIN_CAPACITY_MS: got {low}, expected at most BUFFER_MAX_CAPACITY_MS, which is {high}; change one"
        )
    if settings.metrics_enabled and settings.port == settings.metrics_port != 0:
        problems.append(
            f"METRICS_PORT: got {settings.metrics_port}, which is AURALIS_PORT too, expected another port; change one"
        )
    nats = settings.nats
    if nats.password and not nats.user:
        problems.append("NATS_PASSWORD: got a password without NATS_USER, expected both or neither")
    if nats.user and not nats.password:
        problems.append("NATS_USER: got a user without NATS_PASSWORD, expected both or neither")
    ways = [
        name
        for name, value in (
            ("NATS_USER", nats.user),
            ("NATS_TOKEN", nats.token),
            ("NATS_CREDENTIALS_FILE", nats.credentials_file),
        )
        if value
    ]
    if len(ways) > 1:
        problems.append(f"{ways[0]}: got {' and '.join(ways)} together, expected one way to sign in; remove the others")
    if settings.edge.jwt_audience and not settings.edge.jwt_key:
        problems.append("AURALIS_JWT_AUDIENCE: got an audience without AURALIS_JWT_KEY, expected both or neither")
    return problems


_OF_COMMANDS: Final = frozenset({"AURALIS_TOOLS", "AURALIS_TOKEN"})
"""Variables of the `auralis` command, not of a service: a folder of programs, a listener's token."""
_PREFIXES: Final = ("AURALIS_", "BUFFER_", "WS_", "GPU_", "METRICS_", "NATS_")
# Kubernetes sets these for every service in the namespace (AURALIS_EDGE_SERVICE_HOST, AURALIS_EDGE_PORT_8000_TCP_ADDR).
_SERVICE_LINK = re.compile(r".*_SERVICE_(HOST|PORT(_\w+)?)|.*_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")


def _unknown_names(texts: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for each name that looks like a setting and is not."""
    warnings = []
    for name in sorted(texts):
        if name in BY_NAME or name in _OF_COMMANDS or not name.startswith(_PREFIXES) or _SERVICE_LINK.fullmatch(name):
            continue
        close = difflib.get_close_matches(name, BY_NAME, n=1, cutoff=0.8)
        if close:
            warnings.append(f"{name} is not a setting of Auralis and is ignored; did you mean {close[0]}?")
        elif name.startswith("AURALIS_"):
            # The other prefixes are common words: other programs may own NATS_HOME or GPU_COUNT.
            warnings.append(f"{name} is not a setting of Auralis and is ignored")
    return tuple(warnings)
