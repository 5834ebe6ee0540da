"""The score: pure functions from a spec and a section number to notes. No torch, no I/O."""
