"""Errors of the contract: what was seen, what was expected, what to do. Pure."""

from __future__ import annotations


class ContractError(ValueError):
    """Base of every error that the contract raises."""


class FieldError(ContractError):
    """A named field of a message has a value that cannot be used.

    Attributes:
        field: the field's name, as the sender wrote it.
        observed: the value that arrived, shortened for display.
        expected: what would have been accepted, in words.
    """

    def __init__(self, field: str, observed: object, expected: str) -> None:
        self.field = field
        self.observed = shorten(observed)
        self.expected = expected
        super().__init__(f"{field}: got {self.observed}, expected {expected}")


class MessageError(ContractError):
    """A message as a whole cannot be read (not JSON, wrong type, missing parts)."""


class TruncatedError(ContractError):
    """A binary message ends before its own header says it does.

    Attributes:
        what: which message.
        observed_bytes, expected_bytes: its length, and the least it should have.
    """

    def __init__(self, what: str, observed_bytes: int, expected_bytes: int) -> None:
        self.what = what
        self.observed_bytes = observed_bytes
        self.expected_bytes = expected_bytes
        super().__init__(f"{what}: got {observed_bytes} bytes, expected {expected_bytes}; drop it and ask again")


class UnknownVersionError(ContractError):
    """A message of a version that this build does not speak: count it and skip it.

    Attributes:
        what: which message.
        observed, expected: the versions.
    """

    def __init__(self, what: str, observed: object, expected: int) -> None:
        self.what = what
        self.observed = observed
        self.expected = expected
        super().__init__(
            f"{what}: version {shorten(observed)} is unknown, this build speaks {expected}; upgrade the older side"
        )


def shorten(value: object, limit: int = 80) -> str:
    """`repr(value)` cut to `limit` characters, so that a hostile value cannot fill a log."""
    # Slicing first keeps repr of a megabyte string from being built at all.
    if isinstance(value, str | bytes) and len(value) > limit:
        return repr(value[:limit]) + "…"
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        # Nested too deeply, or a number of more digits than Python writes.
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= limit else text[:limit] + "…"
