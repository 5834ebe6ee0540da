"""Parts that all services share: bus, clock, settings, process, health, logs, metrics, memory, garbage collection.

Nothing here knows music, and nothing imports torch.
"""
