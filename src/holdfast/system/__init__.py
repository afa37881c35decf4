"""The error-handling system: classification, degradation, recovery, health."""
