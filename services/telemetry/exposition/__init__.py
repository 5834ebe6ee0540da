"""The Prometheus text format: expositions and their histograms."""
