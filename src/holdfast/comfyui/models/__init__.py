"""Models: which a workflow needs, which server has which, and how to get what is missing."""

from holdfast.comfyui.models.check import ModelCheck, check_model_file
from holdfast.comfyui.models.download import DownloadSettings, Fetched, fetch
from holdfast.comfyui.models.errors import (
    DownloadBrokenError,
    DownloadError,
    DownloadRefusedError,
    ModelDamagedError,
    ModelError,
    ModelMissingError,
    ModelNotSeenError,
    ModelPlaceError,
    NoSpaceError,
)
from holdfast.comfyui.models.family import Family, family_of
from holdfast.comfyui.models.fitting import Fallbacks, Fit, fit
from holdfast.comfyui.models.keeper import Ensured, ModelManager
from holdfast.comfyui.models.mending import RepairModel
from holdfast.comfyui.models.names import NameMatch, match_name
from holdfast.comfyui.models.needs import ModelNeed, needs_of
from holdfast.comfyui.models.progress import Progress
from holdfast.comfyui.models.quarantine import Quarantined, quarantine, restore
from holdfast.comfyui.models.repair import RepairResult
from holdfast.comfyui.models.shelves import ServerModels
from holdfast.comfyui.models.sources import Source, Sources

__all__ = [
    "DownloadBrokenError",
    "DownloadError",
    "DownloadRefusedError",
    "DownloadSettings",
    "Ensured",
    "Fallbacks",
    "Family",
    "Fetched",
    "Fit",
    "ModelCheck",
    "ModelDamagedError",
    "ModelError",
    "ModelManager",
    "ModelMissingError",
    "ModelNeed",
    "ModelNotSeenError",
    "ModelPlaceError",
    "NameMatch",
    "NoSpaceError",
    "Progress",
    "Quarantined",
    "RepairModel",
    "RepairResult",
    "ServerModels",
    "Source",
    "Sources",
    "check_model_file",
    "family_of",
    "fetch",
    "fit",
    "match_name",
    "needs_of",
    "quarantine",
    "restore",
]
