"""Who performs: composition, the two drivers, the hot paths, the front door.

Importing it puts the real clock in place and lets each policy stand alone.
"""

from holdfast.pipeline import real
from holdfast.pipeline.loops import Attempts
from holdfast.pipeline.pipeline import Pipeline
from holdfast.policies.policy import Policy
from holdfast.policies.retry import Retry

__all__ = ["Pipeline"]

real.install()


def _alone(policy: Policy) -> Pipeline:
    return Pipeline(policy, name=getattr(policy, "name", None))


Policy.perform_with = staticmethod(_alone)
Retry.loop_with = staticmethod(Attempts)
