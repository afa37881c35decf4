"""ComfyUI's refusals of a prompt: wiring is the workflow's fault, names of models the model's."""

from __future__ import annotations

import re

from holdfast.system.classification.answer import Verdict, verdict
from holdfast.system.classification.report import Report
from holdfast.system.classification.rule import Rule

WIRING = verdict("workflow, high, lasting, fix_request")
UNKNOWN_NODE = verdict("workflow, high, lasting, install_node")
NO_MODEL = verdict("model, high, lasting, download_model")
BAD_VALUE = verdict("validation, medium, lasting, fix_request")

# The name of an input, its value, and the list that does not have it.
_NOT_IN = re.compile(
    r"([a-z_][\w -]{0,60}?)['\"\]]{0,2}: ?['\"]?([^\n]{0,300}?)['\"]? not in (?:\[|\(|list|\{|$)"
)
_LEAD = re.compile(
    r"value[ _]not[ _]in[ _]list[:.]|['\"]details['\"]:|^[^\n]{0,80}, (?=\w{1,60}: )", re.MULTILINE
)
_MODEL_FILE = re.compile(
    r"\.(?:safetensors|sft|ckpt|pt|pth|bin|onnx|gguf|engine|trt|pkl|patch|pickle|t7|caffemodel|"
    r"task|tflite|mlmodelc?|torchscript|npz)$"
)
_MODEL_FIELD = re.compile(
    r"(?:ckpt|checkpoint|lora|vae|unet|control_?net|controlnet|clip_?name|clip_vision|style_model|"
    r"gligen|hypernetwork|upscale_model|ipadapter|instantid|pulid|sam_model|motion_m|text_encoder|"
    r"diffusion_model|embedding|gguf|llm|encoder_name|model_name|model_file|model_path|"
    r"transformer_name|rife|yolo|bbox|segm|detector|preprocessor_model)|(?:^|_)model(?:_?\d)?$"
)
_NEVER_FIELD = re.compile(
    r"sampler|scheduler|image|video|audio|mask|dtype|_type$|^type$|_mode$|^mode$|precision|device|"
    r"method|format|preset|_version$|quant|attention|weight_|_strength"
)
_MEDIA = re.compile(
    r"\.(?:png|jpe?g|webp|gif|bmp|tiff?|mp4|mov|webm|mkv|avi|wav|mp3|flac|json|txt)$"
)


def _not_in_list(report: Report) -> Verdict | None:
    """Model if any of the values is the name of a model."""
    for match in _NOT_IN.finditer(_LEAD.sub("\n", report.text)):
        name = match.group(1).strip().replace(" ", "_")
        value = match.group(2).strip()
        if _MEDIA.search(value):
            continue
        if _MODEL_FILE.search(value):
            return NO_MODEL
        if _MODEL_FIELD.search(name) and not _NEVER_FIELD.search(name):
            return NO_MODEL
    return None


RULES = (
    Rule(
        "the prompt names a node type the server does not know",
        UNKNOWN_NODE,
        says=(
            "missing node type",
            "node is missing the class type",
            "missing the class type",
            "following node types were not found",
            "node type not found",
            "node class not found",
            "node types are missing",
            "missing node types",
            "unknown node type",
            "node .. does not exist the custom node may not be installed",
            "cannot execute because node .. does not exist",
            "unknown class type",
            "custom node may not be installed",
            "missing custom node*",
            "missing nodes",
            "node .. not found .. custom node",
            "@missingnodetype",
            "no node class",
            "nodes not found",
            "some nodes are missing",
            "has no class type",
            "unrecognized node type",
            "node type .. is not registered",
            "missing node packs",
            "node does not exist",
            "unknown node class",
            "there are missing nodes",
        ),
    ),
    Rule(
        "a model the prompt names is not installed",
        _not_in_list,
        says=("not in list", "not in", "invalid prompt"),
    ),
    Rule(
        "the graph is wired wrongly",
        WIRING,
        says=(
            "return type mismatch",
            "exception when validating inner node",
            "exception during inner validation",
            "prompt has no outputs",
            "prompt no outputs",
            "bad linked input",
            "dependency cycle",
            "cycle detected",
            "cyclic",
            "circular dependency",
            "graph contains a cycle",
            "graph has a cycle",
            "graph contains cycle",
            "dangling link",
            "bad link",
            "node id .. not found",
            "invalid link",
            "infinite recursion in graph",
            "dependency loop",
            "workflow has no output",
            "no output nodes",
            "workflow contains a loop",
            "mismatch input type",
            "received type .. mismatch",
            "not connected to anything",
            "node has no outputs",
            "output node not found",
            "must be a length 2 list",
            "loop detected in",
            "no outputs",
        ),
    ),
    Rule(
        "a node breaks the validation",
        UNKNOWN_NODE,
        says=("exception when validating node", "exception during validation"),
        also=(
            "is not defined",
            "has no attribute",
            "unexpected keyword argument",
            "missing .. required positional argument*",
            "object is not",
            "not subscriptable",
            "list index out of range",
            "positional argument*",
            "is not iterable",
        ),
    ),
    Rule(
        "the prompt is in the other format, or its body is malformed",
        BAD_VALUE,
        says=(
            "validate prompt",
            "no prompt",
            "invalid json",
            "error type key error .. nodes",
            "not a valid api format",
            "workflow is not in api format",
            "prompt must be",
        ),
        unless=("failed to validate prompt for output",),
    ),
    Rule(
        "an input of the prompt is bad, missing or out of range",
        BAD_VALUE,
        says=(
            "value not in list",
            "required input is missing",
            "required input missing",
            "failed to convert an input value",
            "smaller than min",
            "bigger than max",
            "invalid input type",
            "custom validation failed",
            "value smaller than min",
            "value bigger than max",
            "invalid image file",
            "invalid video file",
            "invalid audio file",
            "invalid file path",
            "prompt outputs failed validation",
            "failed to validate prompt",
            "exception when validating node",
            "invalid prompt",
            "not in list of length",
            "value too small",
            "value too large",
            "is less than the minimum",
            "is greater than the maximum",
            "prompt execution failed",
        ),
    ),
)
