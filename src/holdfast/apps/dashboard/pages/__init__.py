"""The pages of the dashboard, a module each; `register` of each puts it into NiceGUI's app."""

from __future__ import annotations
