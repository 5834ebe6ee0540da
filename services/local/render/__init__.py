"""`auralis render`: a stream as a WAV file, its loudness, and a picture of sound and score."""
