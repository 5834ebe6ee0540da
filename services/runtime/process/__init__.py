"""A service as a process: its name, its life from start to exit, and what every service runs."""
