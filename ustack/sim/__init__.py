"""Simulation: many stacks under one virtual clock, with ordinary blocking application code on top."""
