"""Metrics, state and alerts of the whole fleet.

scrape      asks all instances for their metrics over the bus
exposition  the Prometheus text format; fleet: what the instances say, over time
alerting    alerts that are judged here, or by a Prometheus
scaling     figures for autoscalers, deletion costs of edge pods
app         HTTP: /metrics, /api, the dashboard and its events
service     puts the parts together; server: its port
"""
