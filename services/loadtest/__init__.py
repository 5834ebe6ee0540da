"""Load tests.

listeners    thousands of listeners in one process: `python -m services.loadtest.listeners`
listener     one of them; connection: one WebSocket connection of it; frames, messages: what it reads; tally: figures
command      `auralis loadtest`: runs listeners in a Job on a cluster; plan: the Job; cluster: the Kubernetes API
report       figures of all pods, limits, verdict; plot: a picture of it
"""
