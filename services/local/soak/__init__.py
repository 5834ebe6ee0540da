"""`auralis soak`: the whole system under listeners for hours, and its report."""
