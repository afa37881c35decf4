"""The builders' graphs: valid on a real server, and made as the makers' own examples are."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.engines import RECIPES, Lora, Rung, Settings
from holdfast.comfyui.engines.builders import flux, hunyuan, ltxv, sd3, sd15, sdxl, wan
from holdfast.comfyui.engines.settling import settle
from holdfast.comfyui.engines.wish import Wish
from holdfast.comfyui.workflow import is_link
from tests.comfyui.engines.graphs import edges, ends, gold, template_edges

OBJECT_INFO = Path(__file__).parents[2] / "data" / "object_info.json.gz"


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load(OBJECT_INFO)


def examples(recipe):
    return {role.name: role.example for role in recipe.roles}


def problems(graph, catalog):
    """Everything a real server would object to, but for names of files it does not have."""
    found = []
    for node_id, node in graph.items():
        known = catalog.get(node["class_type"])
        if known is None:
            found.append(f"{node_id}: no class {node['class_type']}")
            continue
        where = f"{node_id} ({known.name})"
        given = node["inputs"]
        found += [f"{where}: no {each.name}" for each in known.required if each.name not in given]
        found += [f"{where}: unknown {each}" for each in given if each not in known.inputs]
        for name, value in given.items():
            spec = known.inputs.get(name)
            if spec is not None:
                found += [f"{where}.{name}: {each}" for each in wrong(spec, value, graph, catalog)]
    return found


FILES = ("ckpt_name", "unet_name", "clip_name", "vae_name", "lora_name", "image")


PLAIN_TYPES = {"INT": (int,), "FLOAT": (int, float), "STRING": (str,), "BOOLEAN": (bool,)}


def wrong(spec, value, graph, catalog):
    if is_link(value):
        outputs = catalog[graph[value[0]]["class_type"]].outputs
        if value[1] >= len(outputs):
            return [f"there is no output {value[1]}"]
        fits = spec.accepts(outputs[value[1]])
        return [] if fits else [f"takes {spec.type}, is given {outputs[value[1]]}"]
    if not spec.is_plain:
        return [f"must be linked, is {value!r}"]
    if spec.type == "COMBO":
        fits = spec.name.startswith(FILES) or value in spec.choices
        return [] if fits else [f"{value!r} is not among {spec.choices}"]
    if type(value) not in PLAIN_TYPES[spec.type]:
        return [f"{value!r} is no {spec.type}"]
    return out_of_range(spec, value) if spec.type in {"INT", "FLOAT"} else []


def out_of_range(spec, value):
    found = []
    if spec.minimum is not None and value < spec.minimum:
        found.append(f"{value} is below {spec.minimum}")
    if spec.maximum is not None and value > spec.maximum:
        found.append(f"{value} is above {spec.maximum}")
    start = {"width": 0, "height": 0, "length": 1}.get(spec.name)
    if start is not None and (value - start) % spec.step:
        found.append(f"{value} is not on the step of {spec.step}")
    return found


CASES = [
    pytest.param(recipe, picture, id=f"{recipe.name}-{number}-{'image' if picture else 'text'}")
    for number, recipe in enumerate(RECIPES)
    for picture in (None, (700, 500))
    if recipe.makes(from_picture=picture is not None)
]


@pytest.mark.parametrize(("recipe", "picture"), CASES)
def test_a_real_server_would_take_every_recipe(recipe, picture, catalog):
    wish = Wish("a lighthouse", 2**64 - 1, picture=picture, loras=(Lora("one"), Lora("two", 0.5)))
    batches = (1, 4) if recipe.kind == "image" else (1,)
    for batch in batches:
        changed = Wish(**{**{f: getattr(wish, f) for f in wish.__slots__}, "batch": batch})
        settled = settle(changed, recipe, Rung("quality", recipe.family), home=recipe.family)
        workflow = recipe.build(settled.settings, examples(recipe))
        assert problems(workflow.graph, catalog) == []
        assert len(workflow.saving_nodes()) == 1
        assert not settled.changed


def test_the_check_finds_what_is_wrong(catalog):
    graph = sd15.build(Settings("a"), {"checkpoint": "x"}).to_api()
    graph["5"]["inputs"] |= {"steps": 0, "sampler_name": "none", "seed": "1", "model": ["1", 1]}
    del graph["5"]["inputs"]["cfg"]
    graph["9"] = {"class_type": "Unheard", "inputs": {}}
    assert len(problems(graph, catalog)) == 6


def test_loras_stand_between_loader_and_everything_that_reads_it():
    loras = (Lora("one"), Lora("two", 0.5, 0.25))
    graph = sdxl.build(Settings("a", loras=loras), {"checkpoint": "x"}).graph
    one, two = (each for each in graph.values() if each["class_type"] == "LoraLoader")
    assert two["inputs"]["strength_model"] == 0.5
    assert two["inputs"]["strength_clip"] == 0.25
    assert (one["inputs"]["model"], two["inputs"]["model"]) == (["1", 0], ["2", 0])
    (sampler,) = (each for each in graph.values() if each["class_type"] == "KSampler")
    assert sampler["inputs"]["model"] == ["3", 0]


def test_a_lora_for_one_half_of_a_pair_goes_to_that_half():
    loras = (Lora("speed_high_noise"), Lora("speed_low_noise"), Lora("style"))
    files = {"high": "h", "low": "l", "t5": "t", "vae": "v"}
    graph = wan.build_pair(Settings("a", loras=loras), files).graph
    names = [each["inputs"].get("lora_name") for each in graph.values()]
    assert [each for each in names if each] == [
        *("speed_high_noise", "style"),
        *("speed_low_noise", "style"),
    ]


def test_a_refiner_takes_the_last_fifth_of_the_steps_left():
    files = {"checkpoint": "x", "refiner": "r"}
    settings = Settings("a", steps=25, image="i.png", denoise=0.6)
    graph = sdxl.build(settings, files).graph
    spans = [
        (each["inputs"]["start_at_step"], each["inputs"]["end_at_step"])
        for each in graph.values()
        if each["class_type"] == "KSamplerAdvanced"
    ]
    assert spans == [(10, 22), (22, 10_000)]


def test_a_negative_prompt_is_heard_by_flux_above_cfg_1():
    files = {"model": "m", "clip_l": "c", "t5": "t", "vae": "v"}
    plain = edges(flux.build(Settings("a", cfg=1.0), files).graph)
    heard = edges(flux.build(Settings("a", cfg=3.0), files).graph)
    assert plain["ConditioningZeroOut"] == 1
    assert heard["ConditioningZeroOut"] == 0
    assert heard["CLIPTextEncode"] == 2


CHECKPOINT = {"checkpoint": "x"}
WAN = {"model": "m", "t5": "t", "vae": "v"}
FAST = {"high": "h", "low": "l", "t5": "t", "vae": "v", "high_lora": "a", "low_lora": "b"}
PLAIN = {"high": "h", "low": "l", "t5": "t", "vae": "v"}
IMAGE = Settings("a", image="i.png")
TEMPLATES = [
    ("default", 0, sd15.build(Settings("a"), CHECKPOINT)),
    ("sdxl_simple_example", 0, sdxl.build(Settings("a"), CHECKPOINT | {"refiner": "r"})),
    ("flux_schnell", 0, flux.build(Settings("a", cfg=1.0), CHECKPOINT)),
    ("flux_dev_checkpoint_example", 0, flux.build(Settings("a", guidance=3.5), CHECKPOINT)),
    (
        "flux1_krea_dev",
        0,
        flux.build(Settings("a", cfg=1.0), {"model": "m", "clip_l": "c", "t5": "t", "vae": "v"}),
    ),
    ("sd3.5_simple_example", 0, sd3.build(Settings("a"), CHECKPOINT)),
    ("ltxv_text_to_video", 0, ltxv.build(Settings("a"), CHECKPOINT | {"t5": "t"})),
    ("ltxv_image_to_video", 0, ltxv.build(IMAGE, CHECKPOINT | {"t5": "t"})),
    ("text_to_video_wan", 0, wan.build(Settings("a"), WAN)),
    ("image_to_video_wan", 0, wan.build(IMAGE, WAN | {"clip_vision": "c"})),
    ("video_wan2_2_5B_ti2v", 0, wan.build_small(Settings("a"), WAN)),
    ("video_wan2_2_14B_t2v (2)", 0, wan.build_pair(Settings("a"), FAST)),
    ("video_wan2_2_14B_i2v", 0, wan.build_pair(IMAGE, FAST)),
    ("video_wan2_2_14B_i2v", 4, wan.build_pair(IMAGE, PLAIN)),
    (
        "hunyuan_video_text_to_video",
        0,
        hunyuan.build(Settings("a"), {"model": "m", "clip_l": "c", "llama": "l", "vae": "v"}),
    ),
]


@pytest.mark.parametrize(
    ("name", "mode", "workflow"), TEMPLATES, ids=[f"{each[0]}-{each[1]}" for each in TEMPLATES]
)
def test_it_is_wired_as_the_official_template(name, mode, workflow):
    assert edges(workflow.graph) == template_edges(name, mode)


def test_a_picture_is_scaled_where_the_official_template_scales_it():
    ours = edges(sd15.build(IMAGE, CHECKPOINT).graph)
    renamed = {"ImageScaleToTotalPixels": "ImageScale"}
    theirs = {
        renamed.get(key, key)
        if isinstance(key, str)
        else tuple(renamed.get(part, part) for part in key): count
        for key, count in template_edges("image2image").items()
    }
    assert dict(ours) == theirs


def value(graph, kind, name):
    return next(each["inputs"][name] for each in graph.values() if each["class_type"] == kind)


@pytest.mark.parametrize(
    ("name", "build", "files", "settings"),
    [
        (
            "default",
            sd15.build,
            {"checkpoint": "v1-5-pruned-emaonly-fp16.safetensors"},
            {"cfg": 8, "negative": "text, watermark"},
        ),
        (
            "flux_schnell",
            flux.build,
            {"checkpoint": "flux1-schnell-fp8.safetensors"},
            {"width": 1024, "height": 1024, "steps": 4, "cfg": 1, "scheduler": "simple"},
        ),
    ],
)
def test_with_the_templates_settings_it_is_the_templates_graph(name, build, files, settings):
    theirs = gold(name)
    prompt = theirs["6"]["inputs"]["text"]
    seed = value(theirs, "KSampler", "seed")
    ours = build(Settings(prompt, seed, prefix="ComfyUI", **settings), files)
    assert ends(ours.graph) == ends(theirs)


@pytest.mark.parametrize(
    ("name", "recipe"),
    [("text_to_video_wan", "wan2.1-1.3b"), ("video_wan2_2_5B_ti2v", "wan2.2-5b")],
)
def test_a_recipes_own_settings_are_the_makers(name, recipe):
    theirs = gold(name)
    (found,) = (each for each in RECIPES if each.name == recipe)
    wish = Wish(theirs["6"]["inputs"]["text"], theirs["3"]["inputs"]["seed"])
    settings = settle(wish, found, Rung("quality", recipe), home=found.family).settings
    ours = found.build(settings, examples(found)).to_api()
    for node in ours.values():
        if node["class_type"] == "SaveVideo":
            node["inputs"]["filename_prefix"] = "video/ComfyUI"
    assert ends(ours) == ends(theirs)
