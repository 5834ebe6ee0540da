"""What two services must agree on: specs, time, subjects, blocks, messages, errors.

Standard library only and no I/O, so that every service and every client can import it.
"""
