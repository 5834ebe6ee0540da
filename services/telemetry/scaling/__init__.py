"""Figures for autoscalers, and deletion costs of edge pods."""
