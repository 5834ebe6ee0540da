"""What the tests here have in common."""

from tests.support.broker import broker

__all__ = ["broker"]
