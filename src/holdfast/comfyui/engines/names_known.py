"""Names that somebody wrote and no server knows: wrong on every rung, so said at once. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.engines.choosing import given_names, listed
from holdfast.comfyui.engines.wish import Wish
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.errors import BadInputError, ErrorCategory


def check_names(wish: Wish, catalogs: Mapping[str, Catalog]) -> None:
    """Refuse samplers, schedulers and LoRAs that none of the servers has.

    Raises:
        BadInputError: no server knows the sampler or scheduler.
        ComfyUIError: no server has a LoRA. A lower rung would only leave it out.
    """
    for field, name in (("sampler", wish.sampler), ("scheduler", wish.scheduler)):
        source = "sampler_name" if field == "sampler" else field
        known = _everywhere(catalogs, "KSampler", source)
        if name is not None and known and name not in known:
            raise BadInputError(f"{field} is {name!r}; servers know {', '.join(known)}")
    known = _everywhere(catalogs, "LoraLoader", "lora_name")
    for lora in wish.loras:
        if not given_names((lora.name,), list(known)):
            close = difflib.get_close_matches(lora.name, known, n=3, cutoff=0.4)
            near = f"; near it: {', '.join(close)}" if close else ""
            raise Failure(
                FailureKind.REJECTED,
                f"no server has the LoRA {lora.name!r} in models/loras{near}",
                elsewhere=True,
                category=ErrorCategory.MODEL,
            ).to_error()


def _everywhere(catalogs: Mapping[str, Catalog], loader: str, name: str) -> dict[str, None]:
    return {each: None for catalog in catalogs.values() for each in listed(catalog, loader, name)}
