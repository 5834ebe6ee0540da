"""Figures for autoscalers, and which edge pod to delete first."""
