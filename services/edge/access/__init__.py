"""Which connections an edge accepts: limits, origins, proxies, tokens."""
