"""Holdfast inside the HTTP libraries people already use.

Each module here needs the library it is named after, which is an extra of that
name, and is imported by its user alone: importing this package imports none.
"""
