"""Experiments in the simulator whose outcomes are kept."""
