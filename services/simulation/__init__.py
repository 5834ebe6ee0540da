"""The protocol between edges and workers at a size that no machine at hand has.

A discrete-event simulation: time, network and rendering are simulated, every decision is taken by the code that runs in
production (edge/demand.py, edge/ring.py, synthesis/batching.py, contract, and the bus in memory, which passes the same
tests as NATS). `python -m services.simulation --help`.
"""
