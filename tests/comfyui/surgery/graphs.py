"""Workflows of every kind that surgery knows, a server's catalog that fits them, and what is sound.

`complaints` is the server's own validation, written down once more and without
any of surgery's code.
"""

from __future__ import annotations

import functools
import gzip
import json
import math
from pathlib import Path
from typing import Any

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.workflow import Workflow, is_link
from tests.comfyui.graphs import node

DATA = Path(__file__).parents[2] / "data" / "object_info.json.gz"
GOLD = Path(__file__).parents[1] / "page" / "gold"

MODELS = {
    ("UNETLoader", "unet_name"): ["flux1-dev.safetensors", "flux1-dev-fp8.safetensors",
        "wan2.2_t2v_high_noise_14B_fp16.safetensors", "wan2.2_t2v_low_noise_14B_fp16.safetensors",
        "hunyuan_video_t2v_720p_bf16.safetensors", "sdxl/base.safetensors"],
    ("CLIPLoader", "clip_name"): ["umt5_xxl_fp16.safetensors", "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
        "t5xxl_fp16.safetensors"],
    ("DualCLIPLoader", "clip_name1"): ["clip_l.safetensors", "t5xxl_fp16.safetensors",
        "t5xxl_fp8_e4m3fn.safetensors"],
    ("DualCLIPLoader", "clip_name2"): ["clip_l.safetensors", "t5xxl_fp16.safetensors",
        "t5xxl_fp8_e4m3fn.safetensors"],
    ("CheckpointLoaderSimple", "ckpt_name"): ["sd15.safetensors", "sd_xl_base.safetensors",
        "sd_xl_refiner.safetensors", "sd3.5.safetensors", "ltx-video-2b.safetensors", "xl\\turbo.safetensors"],
    ("LoraLoader", "lora_name"): ["style.safetensors", "lcm.safetensors"],
    ("LoraLoaderModelOnly", "lora_name"): ["style.safetensors", "lightx2v_4steps.safetensors"],
    ("VAELoader", "vae_name"): ["ae.safetensors", "wan_2.1_vae.safetensors"],
    ("UpscaleModelLoader", "model_name"): ["4x.pth"],
    ("ControlNetLoader", "control_net_name"): ["canny.safetensors"],
    ("LoadImage", "image"): ["photo.png"],
}  # fmt: skip


def custom(inputs: dict[str, Any], *outputs: str, output_node: bool = False) -> dict[str, Any]:
    """A class as a pack of custom nodes declares it."""
    return {
        "input": {"required": inputs},
        "output": list(outputs),
        "output_name": list(outputs),
        "output_is_list": [False] * len(outputs),
        "output_node": output_node,
        "name": "x",
        "category": "x",
    }


CUSTOM = {
    "RIFE VFI": custom({"frames": ["IMAGE"], "multiplier": ["INT", {"min": 1}]}, "IMAGE"),
    "FaceDetailer": custom(
        {"image": ["IMAGE"], "model": ["MODEL"], "seed": ["INT", {"min": 0}]}, "IMAGE", "MASK"
    ),
    "ADE_AnimateDiffLoaderGen1": custom({"model": ["MODEL"], "model_name": ["STRING"]}, "MODEL"),
    "VHS_VideoCombine": custom(
        {"images": ["IMAGE"], "frame_rate": ["FLOAT", {"min": 1, "max": 240}]}, output_node=True
    ),
    "WanVideoDecode": custom(
        {"samples": ["LATENT"], "enable_vae_tiling": ["BOOLEAN", {"default": False}]}, "IMAGE"
    ),
    "Int": custom({"value": ["INT", {"min": 0, "max": 100_000}]}, "INT"),
}


@functools.cache
def object_info() -> str:
    raw = json.loads(gzip.decompress(DATA.read_bytes()))
    for (kind, name), listed in MODELS.items():
        spec = raw[kind]["input"]["required"][name]
        spec[0] = listed
        if len(spec) > 1 and isinstance(spec[1], dict):
            spec[1].pop("options", None)
    return json.dumps(raw | CUSTOM)


@functools.cache
def catalog() -> Catalog:
    """The server of the tests."""
    return Catalog.parse(json.loads(object_info()))


def without(*kinds: str) -> Catalog:
    """The server of the tests, without some classes."""
    return Catalog({name: each for name, each in catalog().items() if name not in kinds})


def sampler(model: str, latent: list[Any], **changed: Any) -> dict[str, Any]:
    given = {
        "model": [model, 0],
        "positive": ["pos", 0],
        "negative": ["neg", 0],
        "latent_image": latent,
        "seed": 5,
        "steps": 20,
        "cfg": 7.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
    }
    return node("KSampler", **given | changed)


def _advanced(model: str, latent: list[Any], **changed: Any) -> dict[str, Any]:
    given = {
        "model": [model, 0],
        "positive": ["pos", 0],
        "negative": ["neg", 0],
        "latent_image": latent,
        "add_noise": "enable",
        "noise_seed": 5,
        "steps": 20,
        "cfg": 3.5,
        "sampler_name": "euler",
        "scheduler": "simple",
        "start_at_step": 0,
        "end_at_step": 10,
        "return_with_leftover_noise": "enable",
    }
    return node("KSamplerAdvanced", **given | changed)


def _prompts(clip: list[Any]) -> dict[str, Any]:
    return {
        "pos": node("CLIPTextEncode", clip=clip, text="a lighthouse"),
        "neg": node("CLIPTextEncode", clip=clip, text="blurry"),
    }


def _saved(latent: list[Any], vae: list[Any]) -> dict[str, Any]:
    return {
        "dec": node("VAEDecode", samples=latent, vae=vae),
        "save": node("SaveImage", images=["dec", 0], filename_prefix="a"),
    }


def of(graph: dict[str, Any], name: str = "workflow") -> Workflow:
    return Workflow.from_api(graph, name=name)


def sd15(batch: int = 1, width: int = 512, height: int = 512, **changed: Any) -> Workflow:
    return of(
        {
            "ckpt": node("CheckpointLoaderSimple", ckpt_name="sd15.safetensors"),
            **_prompts(["ckpt", 1]),
            "lat": node("EmptyLatentImage", width=width, height=height, batch_size=batch),
            "ks": sampler("ckpt", ["lat", 0], **changed),
            **_saved(["ks", 0], ["ckpt", 2]),
        },
        "sd15",
    )


def sdxl_refined() -> Workflow:
    graph = {
        "base": node("CheckpointLoaderSimple", ckpt_name="sd_xl_base.safetensors"),
        "ref": node("CheckpointLoaderSimple", ckpt_name="sd_xl_refiner.safetensors"),
        "pos": node(
            "CLIPTextEncodeSDXL", clip=["base", 1], width=1024, height=1024, crop_w=0, crop_h=0,
            target_width=1024, target_height=1024, text_g="a", text_l="a",
        ),
        "neg": node("CLIPTextEncode", clip=["base", 1], text=""),
        "lat": node("EmptyLatentImage", width=1024, height=1024, batch_size=2),
        "k1": _advanced("base", ["lat", 0], end_at_step=16),
        "k2": _advanced(
            "ref", ["k1", 0], add_noise="disable", start_at_step=16, end_at_step=10000,
            return_with_leftover_noise="disable",
        ),
        **_saved(["k2", 0], ["ref", 2]),
    }  # fmt: skip
    return of(graph, "sdxl")


def flux(batch: int = 1, unet: str = "flux1-dev.safetensors") -> Workflow:
    graph = {
        "unet": node("UNETLoader", unet_name=unet, weight_dtype="default"),
        "clip": node(
            "DualCLIPLoader", clip_name1="clip_l.safetensors",
            clip_name2="t5xxl_fp16.safetensors", type="flux",
        ),
        "vae": node("VAELoader", vae_name="ae.safetensors"),
        "pos": node("CLIPTextEncode", clip=["clip", 0], text="a"),
        "guide": node("FluxGuidance", conditioning=["pos", 0], guidance=3.5),
        "w": node("Int", value=1024),
        "lat": node("EmptySD3LatentImage", width=["w", 0], height=768, batch_size=batch),
        "shift": node(
            "ModelSamplingFlux", model=["unet", 0], max_shift=1.15, base_shift=0.5,
            width=["w", 0], height=768,
        ),
        "noise": node("RandomNoise", noise_seed=5),
        "guider": node("BasicGuider", model=["shift", 0], conditioning=["guide", 0]),
        "which": node("KSamplerSelect", sampler_name="euler"),
        "sig": node(
            "BasicScheduler", model=["shift", 0], scheduler="simple", steps=20, denoise=1.0
        ),
        "ks": node(
            "SamplerCustomAdvanced", noise=["noise", 0], guider=["guider", 0],
            sampler=["which", 0], sigmas=["sig", 0], latent_image=["lat", 0],
        ),
        **_saved(["ks", 0], ["vae", 0]),
    }  # fmt: skip
    return of(graph, "flux")


def wan(length: int = 81, **lora: Any) -> Workflow:
    graph = {
        "high": node("UNETLoader", unet_name="wan2.2_t2v_high_noise_14B_fp16.safetensors",
            weight_dtype="default"),
        "low": node("UNETLoader", unet_name="wan2.2_t2v_low_noise_14B_fp16.safetensors",
            weight_dtype="default"),
        "clip": node("CLIPLoader", clip_name="umt5_xxl_fp16.safetensors", type="wan",
            device="default"),
        "vae": node("VAELoader", vae_name="wan_2.1_vae.safetensors"),
        **_prompts(["clip", 0]),
        "lat": node("EmptyHunyuanLatentVideo", width=832, height=480, length=length, batch_size=1),
        "k1": _advanced("high", ["lat", 0]),
        "k2": _advanced("low", ["k1", 0], add_noise="disable", start_at_step=10,
            end_at_step=10000),
        "dec": node("VAEDecode", samples=["k2", 0], vae=["vae", 0]),
        "video": node("CreateVideo", images=["dec", 0], fps=16.0),
        "save": node("SaveVideo", video=["video", 0], filename_prefix="a", format="auto",
            codec="auto"),
    }  # fmt: skip
    return of(graph, "wan")


def ltx() -> Workflow:
    graph = {
        "ckpt": node("CheckpointLoaderSimple", ckpt_name="ltx-video-2b.safetensors"),
        "clip": node("CLIPLoader", clip_name="t5xxl_fp16.safetensors", type="ltxv"),
        **_prompts(["clip", 0]),
        "cond": node("LTXVConditioning", positive=["pos", 0], negative=["neg", 0], frame_rate=25.0),
        "lat": node("EmptyLTXVLatentVideo", width=768, height=512, length=97, batch_size=1),
        "ks": node(
            "SamplerCustom", model=["ckpt", 0], add_noise=True, noise_seed=5, cfg=3.0,
            positive=["cond", 0], negative=["cond", 1], sampler=["which", 0], sigmas=["sig", 0],
            latent_image=["lat", 0],
        ),
        "which": node("KSamplerSelect", sampler_name="euler"),
        "sig": node(
            "LTXVScheduler", steps=30, max_shift=2.05, base_shift=0.95, stretch=True, terminal=0.1
        ),
        "dec": node("VAEDecode", samples=["ks", 0], vae=["ckpt", 2]),
        "save": node("SaveWEBM", images=["dec", 0], filename_prefix="a", codec="vp9", fps=25.0,
            crf=32.0),
    }  # fmt: skip
    return of(graph, "ltx")


def hires(batch: int = 4, between: str = "latent") -> Workflow:
    """Two passes: the picture is enlarged as a latent, or as an image."""
    graph = sd15(batch).to_api()
    if between == "latent":
        graph["up"] = node(
            "LatentUpscale", samples=["ks", 0], upscale_method="bilinear", width=1024,
            height=1024, crop="disabled",
        )  # fmt: skip
    else:
        graph["dec1"] = node("VAEDecode", samples=["ks", 0], vae=["ckpt", 2])
        graph["model"] = node("UpscaleModelLoader", model_name="4x.pth")
        graph["big"] = node("ImageUpscaleWithModel", upscale_model=["model", 0], image=["dec1", 0])
        graph["up"] = node("VAEEncode", pixels=["big", 0], vae=["ckpt", 2])
    graph["ks2"] = sampler("ckpt", ["up", 0], denoise=0.5)
    graph["dec"]["inputs"]["samples"] = ["ks2", 0]
    return of(graph, "hires")


def upscaled(batch: int = 1) -> Workflow:
    """With an upscaler, a detailer and a preview after the sampler, and a LoRA and a control net."""
    graph = sd15(batch).to_api()
    graph["lora"] = node(
        "LoraLoader", model=["ckpt", 0], clip=["ckpt", 1], lora_name="style.safetensors",
        strength_model=1.0, strength_clip=1.0,
    )  # fmt: skip
    graph["net"] = node("ControlNetLoader", control_net_name="canny.safetensors")
    graph["img"] = node("LoadImage", image="photo.png")
    graph["ctl"] = node(
        "ControlNetApplyAdvanced", positive=["pos", 0], negative=["neg", 0],
        control_net=["net", 0], image=["img", 0], strength=1.0, start_percent=0.0, end_percent=1.0,
    )  # fmt: skip
    graph["pos"]["inputs"]["clip"] = graph["neg"]["inputs"]["clip"] = ["lora", 1]
    graph["ks"]["inputs"] |= {
        "model": ["lora", 0], "positive": ["ctl", 0], "negative": ["ctl", 1]
    }  # fmt: skip
    graph["model"] = node("UpscaleModelLoader", model_name="4x.pth")
    graph["up"] = node("ImageUpscaleWithModel", upscale_model=["model", 0], image=["dec", 0])
    graph["face"] = node("FaceDetailer", image=["up", 0], model=["ckpt", 0], seed=1)
    graph["save"]["inputs"]["images"] = ["face", 0]
    graph["peek"] = node("PreviewImage", images=["img", 0])
    return of(graph, "upscaled")


def inpainted(kind: str = "VAEEncodeForInpaint") -> Workflow:
    graph = sd15().to_api()
    graph["img"] = node("LoadImage", image="photo.png")
    graph["lat"] = node("VAEEncode", pixels=["img", 0], vae=["ckpt", 2])
    if kind == "VAEEncodeForInpaint":
        graph["lat"] = node(kind, pixels=["img", 0], vae=["ckpt", 2], mask=["img", 1],
            grow_mask_by=6)  # fmt: skip
    graph["ks"]["inputs"]["denoise"] = 0.6
    return of(graph, "inpaint")


def animated() -> Workflow:
    graph = sd15(16).to_api()
    graph["ad"] = node("ADE_AnimateDiffLoaderGen1", model=["ckpt", 0], model_name="mm")
    graph["ks"]["inputs"]["model"] = ["ad", 0]
    graph["rife"] = node("RIFE VFI", frames=["dec", 0], multiplier=2)
    graph["save"] = node("VHS_VideoCombine", images=["rife", 0], frame_rate=16.0)
    return of(graph, "animatediff")


def repeated() -> Workflow:
    graph = sd15(2).to_api()
    graph["rep"] = node("RepeatLatentBatch", samples=["lat", 0], amount=3)
    graph["ks"]["inputs"]["latent_image"] = ["rep", 0]
    return of(graph, "repeated")


HANDMADE = (
    sd15(), sd15(8), sd15(3, 832, 640, sampler_name="dpmpp_sde"), sdxl_refined(), flux(4), wan(),
    wan(161), ltx(), hires(), hires(2, "image"), upscaled(2), inpainted(), inpainted("VAEEncode"),
    animated(), repeated(),
)  # fmt: skip


@functools.cache
def templates() -> tuple[Workflow, ...]:
    """The official templates this server knows all nodes of, and what the page made of some."""
    from importlib.resources import files  # noqa: PLC0415 - only where they are wanted

    from holdfast.errors import BadInputError  # noqa: PLC0415

    made = [Workflow.load(path) for path in sorted(GOLD.glob("*.json"))]
    folder = Path(str(files("comfyui_workflow_templates"))) / "templates"
    for path in sorted(folder.glob("*.json")):
        try:
            workflow = Workflow.load(path, object_info=catalog())
        except BadInputError:
            continue
        made.append(workflow)
    return tuple(made)


def complaints(workflow: Workflow, known: Catalog) -> set[str]:
    """What the server would refuse, as texts."""
    found = set()
    if not any(
        each["class_type"] in known and known[each["class_type"]].output_node
        for each in workflow.graph.values()
    ):
        found.add("no output node")
    for name, each in workflow.graph.items():
        for key, value in each["inputs"].items():
            if is_link(value) and value[0] not in workflow.graph:
                found.add(f"{name}.{key}: dangling")
        kind = known.get(each["class_type"])
        if kind is None:
            continue
        for spec in kind.inputs.values():
            if spec.name not in each["inputs"]:
                if spec.required:
                    found.add(f"{name}.{spec.name}: missing")
                continue
            found |= {
                f"{name}.{spec.name}: {what}"
                for what in _wrong(spec, each["inputs"][spec.name], workflow, known)
            }
    return found


def _wrong(spec: Any, value: Any, workflow: Workflow, known: Catalog) -> list[str]:
    if is_link(value):
        source = workflow.graph.get(value[0])
        kind = known.get(source["class_type"]) if source else None
        if kind is None:
            return []
        if not 0 <= value[1] < len(kind.outputs):
            return ["no such output"]
        return [] if spec.accepts(kind.outputs[value[1]]) else ["wrong type"]
    if spec.type in {"INT", "FLOAT"}:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            return ["no number"]
        low, high = spec.minimum, spec.maximum
        out = (low is not None and value < low) or (high is not None and value > high)
        whole = spec.type == "FLOAT" or value == int(value)
        return ["out of range"] if out else [] if whole else ["no whole number"]
    if spec.choices is not None and value not in spec.choices:
        return ["not on the list"]
    return [] if spec.is_plain else ["not linked"]
