"""`auralis up`: NATS and the three services on this machine, supervised.

plan        addresses, the services as children, and what is printed when all of them are ready
readiness   which services are ready, and how long the others have kept everything waiting
observer    shows starts, log lines, ends and readiness
screen      writes to the terminal from a thread of its own
run         checks the machine, starts everything, stops it in order
"""
