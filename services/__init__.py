"""Auralis: endless generative ambient music, rendered live and streamed to many listeners."""
