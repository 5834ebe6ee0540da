"""`auralis doctor`: what this machine has, what is missing, and what that costs."""
