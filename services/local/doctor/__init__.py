"""`auralis doctor`: what this machine has, and what each lack costs."""
