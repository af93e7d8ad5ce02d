"""Drivers: what gives a sans-IO `Stack` its clock, its entropy, its devices and its threads."""
