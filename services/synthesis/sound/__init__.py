"""What notes sound like: patches, and the gain of each preset."""
