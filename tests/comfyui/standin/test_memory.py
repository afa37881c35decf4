"""What fits into graphics memory, what makes room, and how a failure reads."""

from __future__ import annotations

import re
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.standin.memory import (
    GIB,
    HOST_ARRAY_LIMIT,
    MIB,
    GraphicsMemory,
    guess_bytes,
    require_host,
    weights_key,
)
from holdfast.comfyui.standin.node import NodeError
from tests.comfyui.standin.fake_context import FakeServer

SIZES = st.integers(1, 12 * GIB)


def server(tmp_path, gib, **sizes):
    memory = GraphicsMemory(
        gib * GIB, sizes={name.replace("__", "."): n for name, n in sizes.items()}
    )
    return FakeServer(tmp_path, memory=memory)


def sampled(server, width, height, batch=1):
    latent = server.run("EmptyLatentImage", width=width, height=height, batch_size=batch)
    return server.sample(latent, checkpoint="sdxl.safetensors", steps=1)


def wan(server, weight_dtype, width, height, length):
    """Sample a video as a Wan graph does, up to the decode; return latent and VAE."""
    clip = server.run("CLIPLoader", clip_name="umt5_xxl_fp8.safetensors", type="wan")
    positive = server.run("CLIPTextEncode", text="a boat", clip=clip)
    model = server.run("UNETLoader", unet_name="wan2.1_14B.safetensors", weight_dtype=weight_dtype)
    latent = server.run(
        "EmptyHunyuanLatentVideo", width=width, height=height, length=length, batch_size=1
    )
    settings = {"positive": positive, "negative": positive, "steps": 1, "model": model}
    return server.sample(latent, **settings)[0], server.run("VAELoader", vae_name="wan_vae.sft")


def decode_memory(server, latent, vae):
    """Run the memory side of a decode without painting 81 frames."""
    from holdfast.comfyui.standin.memory import decode_bytes

    size = decode_bytes(latent.width, latent.height, frames=latent.frames, batch=latent.batch)
    server.memory.work(size, needs=vae.weights.place(server.memory), evict=False)


@given(st.lists(st.tuples(st.sampled_from("abcd"), SIZES), max_size=20))
def test_resident_models_never_exceed_the_card(requests):
    memory = GraphicsMemory(8 * GIB)
    for name, size in requests:
        try:
            memory.load(name, size)
        except NodeError:
            assert memory.resident == ()
        else:
            assert memory.resident[-1] == name
        assert memory.used + memory.free == memory.total
        assert memory.free >= 0


@given(SIZES, SIZES, SIZES)
def test_work_that_fits_without_evicting_fits_with_it(model, other, size):
    fits = []
    for evict in (False, True):
        memory = GraphicsMemory(16 * GIB)
        memory.load("other", other)
        memory.load("model", model)
        try:
            memory.work(size, needs=("model",), evict=evict)
        except NodeError:
            fits.append(False)
        else:
            fits.append(True)
    assert fits != [True, False]


def test_load_evicts_the_model_used_longest_ago_first():
    memory = GraphicsMemory(10 * GIB)
    for name in ("a", "b", "c"):
        memory.load(name, 3 * GIB)
    memory.load("a", 3 * GIB)
    memory.load("d", 2 * GIB)
    assert memory.resident == ("c", "a", "d")


def test_work_evicts_others_but_never_what_it_needs():
    memory = GraphicsMemory(10 * GIB)
    memory.load("text encoder", 4 * GIB)
    memory.load("model", 5 * GIB)
    memory.work(3 * GIB, needs=("model",))
    assert memory.resident == ("model",)


def test_work_without_evicting_fails_until_the_models_are_unloaded():
    memory = GraphicsMemory(10 * GIB)
    memory.load("model", 6 * GIB)
    with pytest.raises(NodeError):
        memory.work(5 * GIB, evict=False)
    memory.unload_all()
    memory.work(5 * GIB, evict=False)


def test_a_graphics_card_out_of_memory_unloads_everything_and_says_so_like_pytorch():
    memory = GraphicsMemory(8 * GIB)
    memory.load("model", 4 * GIB)
    with pytest.raises(NodeError) as failed:
        memory.load("video model", 28 * GIB)
    assert failed.value.exception_type == "torch.OutOfMemoryError"
    assert failed.value.message.startswith(
        "CUDA out of memory. Tried to allocate 28.00 GiB. "
        "GPU 0 has a total capacity of 8.00 GiB of which 3.67 GiB is free."
    )
    assert "TIPS" not in failed.value.message
    assert memory.resident == ()


def test_a_cpu_out_of_memory_is_a_runtime_error_with_bytes_and_unloads_nothing():
    memory = GraphicsMemory(8 * GIB, kind="cpu")
    memory.load("model", 4 * GIB)
    with pytest.raises(NodeError) as failed:
        memory.work(5 * GIB, needs=("model",))
    assert failed.value.exception_type == "RuntimeError"
    assert re.search(
        r"can't allocate memory: you tried to allocate 5368709120 bytes", str(failed.value)
    )
    assert memory.resident == ("model",)
    assert memory.free == 4 * GIB


def test_the_host_refuses_arrays_past_its_limit_only():
    require_host(HOST_ARRAY_LIMIT)
    with pytest.raises(NodeError, match="DefaultCPUAllocator"):
        require_host(HOST_ARRAY_LIMIT + 1)


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        ("v1-5-pruned-emaonly-fp16.safetensors", 2.13),
        ("sd_xl_base_1.0.safetensors", 6.94),
        ("flux1-dev.safetensors", 23.8),
        ("flux1-dev-fp8.safetensors", 11.9),
        ("wan2.1_t2v_14B_fp16.safetensors", 28),
        ("wan2.1_t2v_1.3B_fp16.safetensors", 2.8),
        ("t5xxl_fp8_e4m3fn.safetensors", 4.9),
        ("my-7b-model.safetensors", 14),
        ("anything.safetensors", 2 * GIB / 1e9),
    ],
)
def test_file_names_tell_sizes(name, gigabytes):
    assert guess_bytes(name) == pytest.approx(gigabytes * 1e9)


def test_a_known_file_size_corrects_what_its_parts_ask_for():
    memory = GraphicsMemory(24 * GIB, sizes={"m.safetensors": 4 * GIB})
    memory.load(weights_key("checkpoints", "m.safetensors", "model"), 1 * GIB)
    before = memory.used
    memory.load("m.safetensors", 1 * GIB)
    assert before == memory.total // 24 + 2 * GIB  # a half of the guess is a half of the truth
    assert memory.used - before == 4 * GIB


def test_loads_from_many_threads_leave_consistent_books():
    memory = GraphicsMemory(8 * GIB)
    threads = [
        Thread(target=lambda n=n: [memory.load(f"{n}-{i}", 300 * MIB) for i in range(50)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert memory.used == memory.total // 24 + len(memory.resident) * 300 * MIB


# Well-known cases ------------------------------------------------------------


def test_sdxl_batch_of_4_at_1024_fits_24_gib(tmp_path):
    card = server(tmp_path, 24)
    latent, vae = sampled(card, 1024, 1024, batch=4)
    decode_memory(card, latent, vae)


def test_sdxl_at_1024_fits_8_gib_but_not_a_batch_of_8(tmp_path):
    card = server(tmp_path, 8)
    latent, vae = sampled(card, 1024, 1024)
    decode_memory(card, latent, vae)
    with pytest.raises(NodeError, match="CUDA out of memory"):
        sampled(card, 1024, 1024, batch=8)


def test_decode_at_2048_fails_on_8_gib_but_not_in_tiles_nor_after_unloading(tmp_path):
    card = server(tmp_path, 8)
    latent, vae = sampled(card, 2048, 2048)
    with pytest.raises(NodeError, match="CUDA out of memory"):
        card.run("VAEDecode", samples=latent, vae=vae)
    decode_memory(card, latent, vae)  # the failure unloaded the model

    latent, vae = sampled(card, 2048, 2048)
    tiles = {"tile_size": 512, "overlap": 64, "temporal_size": 64, "temporal_overlap": 8}
    images = card.run("VAEDecodeTiled", samples=latent, vae=vae, **tiles)
    assert images.shape == (1, 2048, 2048, 3)


def test_wan_14b_needs_8_bit_weights_on_24_gib(tmp_path):
    card = server(tmp_path, 24)
    with pytest.raises(NodeError, match="CUDA out of memory"):
        wan(card, "default", 832, 480, 81)
    latent, vae = wan(card, "fp8_e4m3fn", 832, 480, 81)
    decode_memory(card, latent, vae)
    assert latent.pictures == 81


def test_wan_at_720p_and_121_frames_does_not_fit_24_gib(tmp_path):
    with pytest.raises(NodeError, match="CUDA out of memory"):
        wan(server(tmp_path, 24), "fp8_e4m3fn", 1280, 720, 121)
