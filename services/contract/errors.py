"""Errors of the contract: what was seen, what was expected, what to do. Pure."""

from __future__ import annotations


class ContractError(ValueError):
    """Base of all errors of the contract."""


class FieldError(ContractError):
    """A field of a message has a value that is not valid.

    Attributes:
        field: the field's name, as the sender wrote it.
        observed: the value received, shortened for display.
        expected: the values that are valid, in words.
    """

    def __init__(self, field: str, observed: object, expected: str) -> None:
        self.field = field
        self.observed = shorten(observed)
        self.expected = expected
        super().__init__(f"{field}: got {self.observed}, expected {expected}")


class MessageError(ContractError):
    """A message as a whole cannot be read (not JSON, wrong type, missing parts)."""


class TruncatedError(ContractError):
    """A binary message is shorter than its header says.

    Attributes:
        what: name of the message's kind.
        observed_bytes, expected_bytes: its length, and the least length.
    """

    def __init__(self, what: str, observed_bytes: int, expected_bytes: int) -> None:
        self.what = what
        self.observed_bytes = observed_bytes
        self.expected_bytes = expected_bytes
        super().__init__(f"{what}: got {observed_bytes} bytes, expected {expected_bytes}; drop it and ask again")


class UnknownVersionError(ContractError):
    """A message has a version that this build does not know; count it and skip it.

    Attributes:
        what: name of the message's kind.
        observed, expected: the versions.
    """

    def __init__(self, what: str, observed: object, expected: int) -> None:
        self.what = what
        self.observed = observed
        self.expected = expected
        super().__init__(
            f"{what}: version {shorten(observed)} is unknown, this build knows {expected}; upgrade the older side"
        )


def shorten(value: object, limit: int = 80) -> str:
    """`repr(value)` cut to `limit` characters, so that a hostile value cannot fill a log."""
    # Sliced first, because repr of a megabyte string takes long.
    if isinstance(value, str | bytes) and len(value) > limit:
        return repr(value[:limit]) + "…"
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        # Nested too deeply, or a number of more digits than Python writes.
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= limit else text[:limit] + "…"
