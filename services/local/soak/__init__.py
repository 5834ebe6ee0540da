"""`auralis soak`: the whole system under listeners for hours, and a verdict about leaks."""
