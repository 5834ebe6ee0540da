"""One listener: its place in a stream, its buffer tier, what it is sent."""
