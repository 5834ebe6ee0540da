"""Access to an edge: limits, origins, proxies, tokens."""
