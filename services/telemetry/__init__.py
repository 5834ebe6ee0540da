"""Fleet metrics."""
