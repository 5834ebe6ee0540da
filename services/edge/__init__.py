"""Fan-out to listeners."""
