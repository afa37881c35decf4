"""What errors mean when there are many: counts, groups, rates, trends, percentiles, reports."""

from __future__ import annotations

from holdfast.telemetry.analytics import ErrorAnalytics
from holdfast.telemetry.fingerprint import fingerprint, normalise
from holdfast.telemetry.groups import ErrorGroup
from holdfast.telemetry.kept import KeptErrors
from holdfast.telemetry.rates import Rates
from holdfast.telemetry.trend import Direction, Trend

__all__ = [
    "Direction",
    "ErrorAnalytics",
    "ErrorGroup",
    "KeptErrors",
    "Rates",
    "Trend",
    "fingerprint",
    "normalise",
]
