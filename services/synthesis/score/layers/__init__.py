"""The layers of the music: each writes its notes on the section's sheet."""
