"""The digital signal processing: pure torch functions from packed partials to samples."""
