"""Arithmetic over time. Pure: no I/O, no clock, no randomness; `now` is an argument."""
