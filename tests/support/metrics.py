"""Reading metrics in tests."""

from __future__ import annotations

from typing import Any


def sample_value(metric: Any, **labels: str) -> float:
    """The value of a counter or gauge."""
    child = metric.labels(**labels) if labels else metric
    for family in child.collect():
        for sample in family.samples:
            if not sample.name.endswith(("_created", "_bucket", "_sum")):
                return float(sample.value)
    raise LookupError(f"{metric}: no sample")
