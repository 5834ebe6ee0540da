"""Measured instruments: tables of the levels and phases of their partials, and the bank that the kernels read."""
