"""The protocol between edges and workers, simulated at sizes beyond any machine at hand.

The simulation is of discrete events: time, network and rendering are simulated, and the code of production takes every
decision (demand, renderers and ring of the edge, batching of synthesis, contract, and the in-memory bus, which passes
the same tests as NATS). Run it with `python -m services.simulation`; `--help` lists its options.
"""
