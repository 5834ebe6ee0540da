"""Child processes of one machine.

supervisor         keeps children running, with restarts (decisions), log_lines and die_with_parent
background         a program for the time of a `with` block
nats_server        finds, checks and runs a NATS server
prometheus_server  finds, configures and runs a Prometheus
"""
