"""One stream: the ring of its chunks and the demand for its blocks."""
