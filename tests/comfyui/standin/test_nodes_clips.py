"""The nodes that begin clips and sample in parts: described as on a real server, and at work."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.standin.node import NodeError
from holdfast.comfyui.standin.nodes import CATALOG, clips, custom
from holdfast.comfyui.standin.objectinfo import describe
from tests.comfyui.standin.fake_context import FakeServer

OBJECT_INFO = Path(__file__).parents[2] / "data" / "object_info.json.gz"
NAMES = [node.name for module in (clips, custom) for node in module.NODES]


@pytest.fixture(scope="module")
def real():
    return Catalog.load(OBJECT_INFO)


@pytest.fixture
def server(tmp_path):
    return FakeServer(tmp_path)


def told(spec):
    options = {k: v for k, v in spec.options.items() if k not in {"tooltip", "options"}}
    return spec.type, spec.required, options


@pytest.mark.parametrize("name", NAMES)
def test_a_node_is_described_as_on_a_real_server(name, real, server):
    ours = Catalog.parse(json.loads(json.dumps({name: describe(CATALOG[name], server)})))[name]
    theirs = real[name]
    assert list(ours.inputs) == list(theirs.inputs)
    for each in ours.inputs:
        assert told(ours.inputs[each]) == told(theirs.inputs[each]), each
        if theirs.inputs[each].choices and not each.startswith("clip_name"):
            assert ours.inputs[each].choices == theirs.inputs[each].choices
    for field in ("outputs", "output_names", "output_node", "category", "module", "display_name"):
        assert getattr(ours, field) == getattr(theirs, field), field


def spoken(server, text="a lighthouse"):
    clip = server.run("CLIPLoader", clip_name="t5xxl_fp16.safetensors", type="ltxv")
    return server.run("CLIPTextEncode", text=text, clip=clip)


def parts(server, steps=3):
    model, _clip, vae = server.run("CheckpointLoaderSimple", ckpt_name="sd15.safetensors")
    latent = server.run("EmptyLatentImage", width=64, height=64, batch_size=1)
    sampler = server.run("KSamplerSelect", sampler_name="euler")
    sigmas = server.run("BasicScheduler", model=model, scheduler="normal", steps=steps, denoise=1.0)
    return model, vae, latent, sampler, sigmas


def test_sampling_in_parts_makes_what_sampling_at_once_makes(server):
    model, vae, latent, sampler, sigmas = parts(server)
    words = spoken(server)
    made, same = server.run(
        "SamplerCustom",
        model=model,
        add_noise=True,
        noise_seed=5,
        cfg=7.0,
        positive=words,
        negative=words,
        sampler=sampler,
        sigmas=sigmas,
        latent_image=latent,
    )
    whole = server.run(
        "KSampler",
        model=model,
        seed=5,
        steps=3,
        cfg=7.0,
        sampler_name="euler",
        scheduler="normal",
        positive=words,
        negative=words,
        latent_image=latent,
        denoise=1.0,
    )
    pictures = [server.run("VAEDecode", samples=each, vae=vae) for each in (made, same, whole)]
    assert np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2])
    assert len(server.slept) >= 6


def test_the_seed_of_the_noise_and_the_guider_decide_the_picture(server):
    model, vae, latent, sampler, sigmas = parts(server)

    def picture(seed, text):
        guider = server.run("BasicGuider", model=model, conditioning=spoken(server, text))
        made, _ = server.run(
            "SamplerCustomAdvanced",
            noise=server.run("RandomNoise", noise_seed=seed),
            guider=guider,
            sampler=sampler,
            sigmas=sigmas,
            latent_image=latent,
        )
        return server.run("VAEDecode", samples=made, vae=vae)

    one = picture(1, "a")
    assert np.array_equal(one, picture(1, "a"))
    assert not np.array_equal(one, picture(2, "a"))
    assert not np.array_equal(one, picture(1, "b"))


@pytest.mark.parametrize(
    ("name", "size", "frames", "cell"),
    [
        ("LTXVImgToVideo", (96, 64), 9, 32),
        ("WanImageToVideo", (96, 64), 13, 8),
    ],
)
def test_a_clip_begun_with_a_picture_has_its_size_and_depends_on_the_picture(
    server, name, size, frames, cell
):
    _model, _clip, vae = server.run("CheckpointLoaderSimple", ckpt_name="sd15.safetensors")
    words = spoken(server)
    more = {"image": "strength"} if name.startswith("LTXV") else {"start_image": None}
    (image_input, strength), *_ = more.items()
    shared = {"width": size[0] + 5, "height": size[1], "length": 16, "batch_size": 1, "vae": vae}
    shared |= {} if strength is None else {strength: 1.0}

    def begin(shade):
        image = np.full((1, 8, 8, 3), shade, np.float32)
        given = {image_input: image} | shared
        return server.run(name, positive=words, negative=words, **given)

    positive, negative, latent = begin(0.2)
    assert (latent.width // cell * cell, latent.height, latent.frames) == (*size, frames)
    assert negative == words
    assert positive == begin(0.2)[0]
    assert positive != begin(0.8)[0]


def test_a_clip_of_the_small_wan_has_large_cells(server):
    vae = server.run("VAELoader", vae_name="wan2.2_vae.safetensors")
    latent = server.run(
        "Wan22ImageToVideoLatent", vae=vae, width=100, height=64, length=8, batch_size=1
    )
    assert (latent.width, latent.height, latent.frames, latent.cell) == (96, 64, 5, 16)


def test_ltxv_has_its_own_schedule_and_says_its_frame_rate(server):
    words = spoken(server)
    positive, negative = server.run(
        "LTXVConditioning", positive=words, negative=words, frame_rate=25.0
    )
    assert (positive, negative) == (words, words)
    assert server.run("LTXVScheduler", steps=7, terminal=0.1).steps == 7


def test_three_encoders_and_one_of_pictures_are_loaded_and_read_as_damaged(server):
    names = {f"clip_name{number}": f"{number}.safetensors" for number in (1, 2, 3)}
    clip = server.run("TripleCLIPLoader", **names)
    assert len(clip.weights) == 3
    vision = server.run("CLIPVisionLoader", clip_name="clip_vision_h.safetensors")
    image = np.zeros((1, 8, 8, 3), np.float32)
    seen = server.run("CLIPVisionEncode", clip_vision=vision, image=image, crop="none")
    other = server.run("CLIPVisionEncode", clip_vision=vision, image=image + 1, crop="none")
    assert seen != other
    server.corrupt = frozenset({"3.safetensors", "clip_vision_h.safetensors"})
    with pytest.raises(NodeError, match="header"):
        server.run("TripleCLIPLoader", **names)
    with pytest.raises(NodeError, match="header"):
        server.run("CLIPVisionLoader", clip_name="clip_vision_h.safetensors")


def test_a_latent_repeated_decodes_to_as_many_pictures(server):
    _model, _clip, vae = server.run("CheckpointLoaderSimple", ckpt_name="sd15.safetensors")
    encoded = server.run("VAEEncode", pixels=np.full((1, 16, 16, 3), 0.25, np.float32), vae=vae)
    repeated = server.run("RepeatLatentBatch", samples=encoded, amount=3)
    sampled, _vae = server.sample(repeated, denoise=0.5)
    pictures = server.run("VAEDecode", samples=sampled, vae=vae)
    assert pictures.shape == (3, 16, 16, 3)
    again = server.run("RepeatLatentBatch", samples=sampled, amount=2)
    assert server.run("VAEDecode", samples=again, vae=vae).shape == (6, 16, 16, 3)
