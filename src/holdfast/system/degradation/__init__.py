"""Graceful degradation: levels of service, what moves them, and the knobs that realise them."""

from __future__ import annotations

from holdfast.machines.thresholds import Thresholds
from holdfast.system.degradation.adjust import AdjustedParameters, Change, Skipped
from holdfast.system.degradation.changes import LevelChange
from holdfast.system.degradation.graceful import GracefulDegradation
from holdfast.system.degradation.grades import Cause, DegradationLevel
from holdfast.system.degradation.knobs import (
    ChoiceKnob,
    FeatureKnob,
    Knob,
    NumberKnob,
    QualityKnob,
    StepsKnob,
)
from holdfast.system.degradation.memory import MemoryPressure, memory_pressure
from holdfast.system.degradation.resolution import ResolutionKnob
from holdfast.system.degradation.settings import DegradationSettings

__all__ = [
    "AdjustedParameters",
    "Cause",
    "Change",
    "ChoiceKnob",
    "DegradationLevel",
    "DegradationSettings",
    "FeatureKnob",
    "GracefulDegradation",
    "Knob",
    "LevelChange",
    "MemoryPressure",
    "NumberKnob",
    "QualityKnob",
    "ResolutionKnob",
    "Skipped",
    "StepsKnob",
    "Thresholds",
    "memory_pressure",
]
