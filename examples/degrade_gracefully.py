"""Give less when giving all is too much, be told what was changed, and come back in quiet."""

from __future__ import annotations

from holdfast.system.degradation import (
    DegradationSettings,
    FeatureKnob,
    GracefulDegradation,
    NumberKnob,
)
from holdfast.testing import FakeClock

degradation = GracefulDegradation(DegradationSettings(quiet_seconds=300))
degradation.register_knob(NumberKnob("frames", floor=9, snap=8, offset=1))
degradation.register_knob(FeatureKnob("upscale", off_at="medium"))

# The clock is a fake one, so that the quiet period is over at once.
with FakeClock() as clock:
    degradation.degrade("High error rate detected")
    params = {"quality": 1.0, "resolution": "1080p", "steps": 50}
    adjusted_params = degradation.adjust_parameters(params)
    print(degradation.current_level, adjusted_params)

    # One graphics card is in trouble; the others go on as they are.
    for _ in range(10):
        degradation.observe_call(False, 80.0, scope="gpu1")
    degradation.degrade("CUDA error twice", scope="gpu1")
    film = {"width": 1280, "height": 720, "frames": 121, "upscale": True, "steps": "auto"}
    for scope in ("gpu1", "gpu2"):
        fitted = degradation.adjust_parameters(film, scope=scope)
        print(f"\n{scope}: {fitted.level}")
        for change in fitted.changes:
            print(f"  {change.key}: {change.before} -> {change.after} ({change.reason})")
        for skipped in fitted.skipped:
            print(f"  {skipped.key}: left at {skipped.value!r}: {skipped.reason}")

    clock.advance(3600)
    print("\nAn hour later:", degradation.current_level, degradation.level("gpu1"))
    for change in degradation.history():
        print(f"  {change.scope or 'all'}: {change.old} -> {change.new}: {change.reason}")
