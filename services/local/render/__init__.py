"""`auralis render`: sound to a file, its loudness, and pictures of the score."""
