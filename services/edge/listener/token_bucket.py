"""Pure: a rate limit that lets bursts pass."""

from __future__ import annotations


class TokenBucket:
    """Lets `burst` events pass immediately, and `rate_per_s` in the long run.

    Args:
        rate_per_s: tokens that come back each second, above 0.
        burst: tokens that can be saved up, and are there at the start; at least 1.

    Raises:
        ValueError: the rate or the burst is out of range.
    """

    __slots__ = ("_burst", "_last_s", "_rate", "_tokens")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        if rate_per_s <= 0 or burst < 1:
            raise ValueError(f"token bucket: got {rate_per_s}/s, burst {burst}, expected above 0 and at least 1")
        self._rate = rate_per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._last_s: float | None = None

    def available(self, now_s: float) -> int:
        """Whole tokens that can be taken at `now_s`."""
        last = self._last_s
        if last is None:
            self._last_s = now_s
        elif now_s > last:
            self._tokens = min(self._burst, self._tokens + (now_s - last) * self._rate)
            self._last_s = now_s
        # Unix seconds are exact to a quarter of a microsecond only: 0.1 s at 10/s must be one whole token.
        return int(self._tokens + 1e-4)

    def take(self, now_s: float, count: int = 1) -> bool:
        """Take `count` tokens; False: there are fewer, and none is taken."""
        if self.available(now_s) < count:
            return False
        self._tokens -= count
        return True

    def cap(self, now_s: float, tokens: float) -> None:
        """Drop what has been saved up beyond `tokens`."""
        self.available(now_s)
        self._tokens = min(self._tokens, tokens)
