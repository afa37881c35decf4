"""One adapter per library of the field, so that all can be asked the same questions.

The adapters are imported one at a time and only when asked for: a peer that is
not installed is listed as such and is never an error.
"""
