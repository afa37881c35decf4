"""Takes secrets out of whatever is about to be stored, shown or sent."""

from __future__ import annotations
