"""What may be changed in a workflow to get a result at all, and how far.

The defaults give a picture where one can be had: everything is tried that
keeps a picture worth having, the dearest last, and each change is told. What
would change what the picture shows (other models, another seed) is only done
where it was declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from holdfast.errors import BadInputError

if TYPE_CHECKING:
    from holdfast.comfyui.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be changed. Changes that keep the result are always made.

    Raises:
        BadInputError: a value is out of its range; the message names it.
    """

    precision: bool = True
    """Weights in 8 bits where the loader can."""
    bypass: bool = True
    """Going without polish: upscalers, face fixers, frame interpolation, compilation."""
    smaller: bool = True
    """Fewer frames and fewer pixels, down to the two limits below."""
    least_area: float = 0.25
    """Share of the pixels that must be left, 0 to 1; a model's own floor holds as well."""
    least_frames: float = 0.25
    """Share of the frames that must be left, 0 to 1; a model's own floor holds as well."""
    corrections: bool = False
    """Values the server refuses are corrected where their meaning is plain."""
    reseeds: int = 0
    """How often a picture that is black or of one colour is made again with another seed."""
    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Models to take for one that is missing or damaged, best first: ``{"a": ["b", "c"]}``."""
    simpler: Sequence[Workflow] = ()
    """Workflows to run instead if nothing else helps, best first."""
    rerun_paid: bool = False
    """A run that may have cost money is run again if it fails."""

    def __post_init__(self) -> None:
        for name in ("least_area", "least_frames"):
            value = getattr(self, name)
            if not _is_number(value) or not 0 < value <= 1:
                raise BadInputError(f"{name} is {value!r}; it must be above 0 and at most 1")
        if not _is_number(self.reseeds, int) or not 0 <= self.reseeds <= 100:
            raise BadInputError(f"reseeds is {self.reseeds!r}; it must be 0 to 100")
        if not isinstance(cast("object", self.fallbacks), Mapping):
            raise BadInputError(
                f"fallbacks are {self.fallbacks!r:.100}; they must map a model to a list of others"
            )
        for model, others in self.fallbacks.items():
            if not _is_list_of_names(others):
                raise BadInputError(
                    f"fallbacks of {model!r} are {others!r}; they must be a list of model names"
                )
        object.__setattr__(
            self,
            "fallbacks",
            MappingProxyType({key: tuple(value) for key, value in self.fallbacks.items()}),
        )
        simpler: object = self.simpler
        graphs = isinstance(simpler, list | tuple) and all(hasattr(e, "graph") for e in simpler)
        if not graphs:
            raise BadInputError(f"simpler is {simpler!r:.100}; it must be a list of workflows")
        object.__setattr__(self, "simpler", tuple(self.simpler))


def _is_number(value: object, *kinds: type) -> bool:
    return isinstance(value, kinds or (int, float)) and not isinstance(value, bool)


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
