"""The Prometheus text format: expositions, and the histograms in them."""
