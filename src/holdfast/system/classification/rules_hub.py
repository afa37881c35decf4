"""Fetching models: what the hub refuses, and what the way to it breaks off."""

from __future__ import annotations

from holdfast.system.classification.answer import verdict
from holdfast.system.classification.rule import Rule
from holdfast.system.classification.rules_absent import FILE

DOWNLOAD = verdict("model, high, lasting, download_model")
OTHER = verdict("model, high, lasting, fallback_model")
TRUNCATED = verdict("network, low, transient, retry")
UNREACHED = verdict("network, medium, transient, wait_and_retry")
HUB = (
    "huggingface co",
    "hf mirror com",
    "hf co",
    "hf mirror",
    "civitai com",
    "civitai",
    "modelscope",
    "huggingface hub",
    "resolve main",
    "@from:huggingface_hub",
    "@hfhubhttperror",
    "@repositorynotfounderror",
    "@gatedrepoerror",
    "@entrynotfounderror",
    "@revisionnotfounderror",
    "@remoteentrynotfounderror",
    "@localentrynotfounderror",
    "on the hub",
    "hugging face hub",
    "hugging face",
    "download model",
    "downloading model",
    "model download",
    "dl fbaipublicfiles com",
    "download pytorch org",
    "snapshot download",
    "hf hub download",
    "xethub",
    "cas bridge",
)

RULES = (
    # -- fetching
    Rule(
        "the hub refuses or does not have the model",
        OTHER,
        says=(
            "#http401",
            "#http403",
            "#http404",
            "@repositorynotfounderror",
            "@gatedrepoerror",
            "repository not found",
            "entry not found",
            "revision not found",
            "gated repo",
            "@revisionnotfounderror",
            "@remoteentrynotfounderror",
            "access to model",
            "is not in the authorized list",
            "awaiting a review from the repo authors",
        ),
        also=(
            *HUB,
            "gated repo",
            "repository not found for url",
            "is restricted",
            "from_pretrained",
            "cached files",
            "safetensors",
            "ckpt",
            "gguf",
            "pth",
        ),
        unless=(
            "api inference",
            "router huggingface co",
            "inference api",
            "inference endpoint*",
            "inference providers",
            "#http5xx",
            "#http429",
            "entry point not found",
        ),
    ),
    Rule(
        "the model is not in the cache, and downloads are off",
        DOWNLOAD,
        says=(
            "outgoing traffic has been disabled",
            "offline mode",
            "hf hub offline",
            "local files only",
            "@offlinemodeisenabled",
            "offline mode is enabled",
        ),
        also=(*HUB, *FILE, "cached", "cache", "cannot find", "cannot reach", "model"),
    ),
    Rule(
        "the hub could not be reached, and the cache has no copy",
        UNREACHED,
        says=(
            "couldn't connect to https huggingface co",
            "could not connect to .. huggingface co",
            "could not reach .. huggingface co",
            "please check your connection and try again",
            "check your internet connection",
            "error happened while trying to locate the file on the hub",
            "error happened while trying to locate the files on the hub",
            "we could not connect to",
        ),
        unless=("#http401", "#http403", "#http404"),
    ),
    Rule(
        "the download was cut short",
        TRUNCATED,
        says=(
            "consistency check failed",
            "incomplete read",
            "@incompleteread",
            "file should be of size",
            "retrieval incomplete",
            "@contenttooshorterror",
            "content too short",
            "download incomplete",
            "incomplete download",
            "download interrupted",
            "peer closed connection without sending complete",
            "unexpected size of downloaded file",
            "error while downloading from",
            "data processing error file reconstruction error",
            "file reconstruction error",
            "not enough data for satisfy content length header",
            "got only .. out of .. bytes",
            "got only",
            "response payload is not completed",
        ),
    ),
    # -- what the file is
)
