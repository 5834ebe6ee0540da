"""The sound: pure torch functions from packed parameters to samples. No I/O."""
