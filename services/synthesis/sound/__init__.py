"""What notes sound like: the patches of each preset, and its loudness."""
