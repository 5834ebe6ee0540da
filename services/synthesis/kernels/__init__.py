"""Compiled kernels: their graphs, packages, cache and loading."""
