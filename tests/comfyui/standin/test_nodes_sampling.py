"""From loaders to decoded pictures: progress, sizes, memory, and what changes a picture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from holdfast.comfyui.standin.memory import GIB, GraphicsMemory
from holdfast.comfyui.standin.node import Interrupted, NodeError
from holdfast.comfyui.standin.nodes import CATALOG
from tests.comfyui.standin.fake_context import FakeServer


@pytest.fixture
def server(tmp_path):
    return FakeServer(tmp_path)


def empty(server, width=64, height=64, batch=1):
    return server.run("EmptyLatentImage", width=width, height=height, batch_size=batch)


def decode(server, sampled):
    latent, vae = sampled
    return server.run("VAEDecode", samples=latent, vae=vae)


def difference(one, other):
    return float(np.abs(one - other).mean())


def advanced(server, latent, **changes):
    """Run a `KSamplerAdvanced` of 10 steps with the inputs of `FakeServer.sample`."""
    model, clip, vae = server.run("CheckpointLoaderSimple", ckpt_name="sd15.safetensors")
    prompt = server.run("CLIPTextEncode", text="a lighthouse", clip=clip)
    inputs = {
        "model": model,
        "add_noise": "enable",
        "noise_seed": 1,
        "steps": 10,
        "cfg": 7.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "positive": prompt,
        "negative": prompt,
        "latent_image": latent,
        "start_at_step": 0,
        "end_at_step": 10000,
        "return_with_leftover_noise": "disable",
    }
    return server.run("KSamplerAdvanced", **(inputs | changes)), vae


# The catalog -----------------------------------------------------------------


def test_every_class_is_listed_under_its_own_name_and_says_what_it_is():
    assert len(CATALOG) == 68
    for name, node in CATALOG.items():
        assert node.name == name
        assert node.category
        assert node.outputs or node.output_node
        assert set(node.choices) <= set(node.required)


def test_model_lists_are_read_live(server):
    lister = CATALOG["CheckpointLoaderSimple"].choices["ckpt_name"]
    assert lister(server) == []
    server.model_files["checkpoints"] = ["new.safetensors"]
    assert lister(server) == ["new.safetensors"]


def test_a_vae_can_always_be_pixel_space(server):
    assert CATALOG["VAELoader"].choices["vae_name"](server) == ["pixel_space"]


# Loading ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "inputs"),
    [
        ("CheckpointLoaderSimple", {"ckpt_name": "bad"}),
        ("UNETLoader", {"unet_name": "bad", "weight_dtype": "default"}),
        ("CLIPLoader", {"clip_name": "bad", "type": "sd3"}),
        ("DualCLIPLoader", {"clip_name1": "good", "clip_name2": "bad", "type": "flux"}),
        ("VAELoader", {"vae_name": "bad"}),
        ("UpscaleModelLoader", {"model_name": "bad"}),
    ],
)
def test_a_corrupt_file_fails_like_damaged_safetensors(tmp_path, node, inputs):
    server = FakeServer(tmp_path, corrupt=frozenset({"bad"}))
    with pytest.raises(NodeError, match="Error while deserializing header") as failed:
        server.run(node, **inputs)
    assert failed.value.exception_type == "safetensors._safetensors_rust.SafetensorError"


def test_a_corrupt_lora_fails_unless_it_has_no_strength(tmp_path):
    server = FakeServer(tmp_path, corrupt=frozenset({"bad"}))
    model, clip, _ = server.run("CheckpointLoaderSimple", ckpt_name="good")
    inputs = {"model": model, "clip": clip, "lora_name": "bad"}
    assert server.run("LoraLoader", strength_model=0, strength_clip=0, **inputs) == (model, clip)
    with pytest.raises(NodeError):
        server.run("LoraLoader", strength_model=0, strength_clip=1, **inputs)


def test_8_bit_weights_halve_a_model_unless_the_file_is_8_bit_already(server):
    def size(name, dtype):
        return server.run("UNETLoader", unet_name=name, weight_dtype=dtype).weights.size

    full = size("flux1-dev.safetensors", "default")
    assert size("flux1-dev.safetensors", "fp8_e5m2") == full // 2
    assert size("flux1-dev-fp8.safetensors", "fp8_e5m2") == size(
        "flux1-dev-fp8.safetensors", "default"
    )


def test_a_lora_adds_a_little_memory_and_changes_the_picture(server):
    plain, _, _ = server.run("CheckpointLoaderSimple", ckpt_name="sd15.safetensors")
    patched = server.run(
        "LoraLoaderModelOnly", model=plain, lora_name="ink.safetensors", strength_model=0.8
    )
    assert plain.weights.size < patched.weights.size < 1.1 * plain.weights.size
    assert plain.weights.key == patched.weights.key
    assert difference(server.picture(), server.picture(model=patched)) > 0.02


def test_a_text_encoder_on_the_cpu_takes_no_graphics_memory(server):
    before = server.memory.used
    for device, taken in (("cpu", False), ("default", True)):
        clip = server.run("CLIPLoader", clip_name="t5.safetensors", type="sd3", device=device)
        server.run("CLIPTextEncode", text="hello", clip=clip)
        assert (server.memory.used > before) is taken


# Sampling --------------------------------------------------------------------


def test_every_step_sleeps_then_reports_progress_with_a_small_preview(server):
    server.sample(empty(server, 512, 256), steps=3)
    assert [(value, maximum) for value, maximum, _ in server.progress] == [(1, 3), (2, 3), (3, 3)]
    assert {preview.size for _, _, preview in server.progress} == {(64, 32)}
    assert {preview.mode for _, _, preview in server.progress} == {"RGB"}
    assert len(server.slept) == 3


def test_larger_pictures_take_longer_steps_within_reason(server):
    def seconds(side):
        server.slept.clear()
        server.sample(empty(server, side, side), steps=1)
        return server.slept[0]

    assert [seconds(side) for side in (64, 512, 1024, 4096)] == [0.5, 1.0, 2.0, 4.0]


def test_a_prompt_that_must_stop_stops_at_the_next_step(server):
    def stop(value, _maximum, _preview=None):
        if value == 2:
            raise Interrupted

    server.context.progress = stop
    with pytest.raises(Interrupted):
        server.sample(empty(server), steps=9)
    assert len(server.slept) == 2


def test_the_same_inputs_give_the_same_picture_and_another_seed_another(server):
    assert np.array_equal(server.picture(), server.picture())
    assert difference(server.picture(), server.picture(seed=2)) > 0.03
    assert difference(server.picture(), server.picture(prompt="a forest")) > 0.03


def test_settings_of_model_and_prompt_reach_the_picture(server):
    model, clip, _ = server.run("CheckpointLoaderSimple", ckpt_name="sd15.safetensors")
    text = server.run("CLIPTextEncode", text="a lighthouse", clip=clip)
    shifted = server.run("ModelSamplingSD3", model=model, shift=5.0)
    guided = server.run("FluxGuidance", conditioning=text, guidance=2.0)
    both = server.run("ConditioningCombine", conditioning_1=text, conditioning_2=guided)
    nothing = server.run("ConditioningZeroOut", conditioning=text)
    plain = server.picture()
    assert difference(plain, server.picture(model=shifted)) > 0
    for conditioning in (guided, both, nothing):
        assert difference(plain, server.picture(positive=conditioning)) > 0


def test_less_denoising_keeps_more_of_the_source(server):
    source = np.zeros((1, 64, 64, 3), np.float32)
    source[:, 16:48, 16:48] = 1
    _, _, vae = server.run("CheckpointLoaderSimple", ckpt_name="sd15.safetensors")
    encoded = server.run("VAEEncode", pixels=source, vae=vae)
    kept = [
        difference(source, decode(server, server.sample(encoded, denoise=denoise)))
        for denoise in (0.0, 0.2, 0.6, 1.0)
    ]
    assert kept == sorted(kept)
    assert kept[0] == 0
    assert np.array_equal(decode(server, server.sample(encoded)), server.picture())


def test_out_of_memory_while_sampling_is_the_cards(tmp_path):
    server = FakeServer(tmp_path, memory=GraphicsMemory(4 * GIB))
    with pytest.raises(NodeError, match="CUDA out of memory") as failed:
        server.sample(empty(server, 4096, 4096))
    assert failed.value.exception_type == "torch.OutOfMemoryError"
    assert server.progress == []


# The advanced sampler --------------------------------------------------------


def test_two_samplers_share_the_steps_of_one_picture(server):
    first, _ = advanced(server, empty(server), end_at_step=4, return_with_leftover_noise="enable")
    assert first.leftover == pytest.approx(0.6)
    assert len(server.progress) == 4
    both = advanced(server, first, add_noise="disable", start_at_step=4)
    assert len(server.progress) == 10
    assert both[0].leftover == 0
    assert difference(decode(server, both), decode(server, advanced(server, empty(server)))) < 0.05


def test_leftover_noise_shows_unless_it_is_removed(server):
    clean = decode(server, advanced(server, empty(server), end_at_step=4))
    noisy = decode(
        server,
        advanced(server, empty(server), end_at_step=4, return_with_leftover_noise="enable"),
    )
    assert difference(clean, noisy) > 0.05


def test_a_start_past_the_end_changes_nothing(server):
    latent = empty(server)
    assert advanced(server, latent, start_at_step=10)[0] is latent
    assert server.progress == []


def test_without_any_noise_little_happens(server):
    grey = np.full((1, 64, 64, 3), 0.5, np.float32)
    quiet = decode(server, advanced(server, empty(server), add_noise="disable"))
    assert difference(grey, quiet) < 0.3 * difference(grey, server.picture())


# Latents ---------------------------------------------------------------------


def test_sides_are_cut_to_the_grid_in_silence(server):
    assert empty(server, 100, 71).width == 96
    assert empty(server, 100, 71).height == 64
    assert server.run("EmptySD3LatentImage", width=20, height=16, batch_size=2).pictures == 2


@pytest.mark.parametrize(
    ("node", "length", "frames"),
    [
        ("EmptyHunyuanLatentVideo", 80, 77),
        ("EmptyHunyuanLatentVideo", 81, 81),
        ("EmptyLTXVLatentVideo", 100, 97),
        ("EmptyLTXVLatentVideo", 1, 1),
    ],
)
def test_frames_are_cut_to_what_the_model_can_make(server, node, length, frames):
    latent = server.run(node, width=64, height=64, length=length, batch_size=1)
    assert latent.frames == frames


def test_a_video_decodes_to_all_its_frames_and_moves(server):
    latent = server.run("EmptyHunyuanLatentVideo", width=64, height=48, length=9, batch_size=2)
    images = decode(server, server.sample(latent))
    assert images.shape == (18, 48, 64, 3)
    moves = [difference(a, b) for a, b in pairwise(images[:9])]
    assert all(0 < move < 0.05 for move in moves)
    assert difference(images[8], images[9]) > max(moves)


def test_resized_latents_keep_the_picture(server):
    latent, vae = server.sample(empty(server, 64, 64))
    small = decode(server, (latent, vae))
    by = server.run("LatentUpscaleBy", samples=latent, upscale_method="bislerp", scale_by=2.0)
    assert (by.width, by.height) == (128, 128)
    large = decode(server, (by, vae))
    assert large.shape == (1, 128, 128, 3)
    assert difference(large.reshape(1, 64, 2, 64, 2, 3).mean(axis=(2, 4)), small) < 0.02
    settings = {"samples": latent, "upscale_method": "area"}
    to = server.run("LatentUpscale", width=0, height=100, crop="disabled", **settings)
    assert (to.width, to.height) == (96, 96)
    assert server.run("LatentUpscale", width=0, height=0, crop="center", **settings) is latent
    cropped = server.run("LatentUpscale", width=128, height=64, crop="center", **settings)
    assert decode(server, (cropped, vae)).shape == (1, 64, 128, 3)


def test_a_second_pass_over_a_larger_latent_works_on_the_first(server):
    latent, vae = server.sample(empty(server, 64, 64))
    larger = server.run("LatentUpscaleBy", samples=latent, upscale_method="area", scale_by=1.5)
    refined = decode(server, server.sample(larger, denoise=0.3, seed=99))
    fresh = decode(server, server.sample(empty(server, 96, 96), seed=99))
    first = decode(server, (larger, vae))
    assert difference(refined, first) < difference(refined, fresh)


def test_latents_too_large_for_the_host_fail_like_a_full_host(server):
    with pytest.raises(NodeError, match="DefaultCPUAllocator"):
        empty(server, 16384, 16384, batch=4096)


# Decoding and upscaling ------------------------------------------------------


def test_encoding_cuts_to_whole_cells_and_decodes_to_the_same_pixels(server):
    pixels = np.random.default_rng(0).random((1, 21, 34, 3), dtype=np.float32)
    _, _, vae = server.run("CheckpointLoaderSimple", ckpt_name="sd15.safetensors")
    latent = server.run("VAEEncode", pixels=pixels, vae=vae)
    decoded = decode(server, (latent, vae))
    assert np.array_equal(decoded, pixels[:, 2:18, 1:33])


def test_a_plain_decode_is_silent_and_tiles_are_counted(server):
    latent, vae = server.sample(empty(server, 192, 64))
    server.progress.clear()
    whole = decode(server, (latent, vae))
    assert server.progress == []
    tiles = {"tile_size": 128, "overlap": 32, "temporal_size": 64, "temporal_overlap": 8}
    tiled = server.run("VAEDecodeTiled", samples=latent, vae=vae, **tiles)
    assert np.array_equal(whole, tiled)
    assert [value for value, *_ in server.progress] == list(range(1, len(server.progress) + 1))
    assert len(server.progress) > 3


@pytest.mark.parametrize(
    ("name", "factor"), [("4x-UltraSharp.pth", 4), ("RealESRGAN_x2.pth", 2), ("plain.pth", 4)]
)
def test_upscalers_enlarge_by_the_factor_in_their_name(server, name, factor):
    upscaler = server.run("UpscaleModelLoader", model_name=name)
    image = np.zeros((2, 8, 16, 3), np.float32)
    large = server.run("ImageUpscaleWithModel", upscale_model=upscaler, image=image)
    assert large.shape == (2, 8 * factor, 16 * factor, 3)
    assert [value for value, *_ in server.progress] == [1, 2]
