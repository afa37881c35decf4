"""Resilience for Python, made first for long GPU jobs."""
