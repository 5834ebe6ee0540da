"""Packing: from the score's notes to what the kernels read."""
