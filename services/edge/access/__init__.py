"""Who may listen: admission, tokens, limits by address."""
