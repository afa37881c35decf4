"""Nodes on pictures and masks: what goes in, what comes out, how they fail."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from holdfast.comfyui.standin.node import NodeError
from holdfast.comfyui.standin.nodes import CATALOG
from tests.comfyui.standin.fake_context import FakeServer

LOAD = CATALOG["LoadImage"]


@pytest.fixture
def server(tmp_path):
    return FakeServer(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return FakeServer(tmp_path_factory.mktemp("server"))


def gradient(width=8, height=6, count=1):
    values = np.linspace(0, 1, count * height * width * 3, dtype=np.float32)
    return values.reshape(count, height, width, 3)


def save(server, name, image, **options):
    image.save(server.folders.input / name, **options)


# Loading ---------------------------------------------------------------------


def test_a_picture_is_loaded_with_an_empty_mask(server):
    save(server, "a.png", Image.new("RGB", (5, 3), (255, 0, 51)))
    picture, mask = server.run("LoadImage", image="a.png")
    assert picture.shape == (1, 3, 5, 3)
    assert picture[0, 0, 0] == pytest.approx([1, 0, 0.2])
    assert mask.shape == (1, 64, 64)
    assert not mask.any()


def test_what_is_transparent_is_masked(server):
    save(server, "a.png", Image.new("RGBA", (5, 3), (255, 0, 51, 0)))
    _, mask = server.run("LoadImage", image="a.png")
    assert mask.shape == (1, 3, 5)
    assert mask.min() == 1


@pytest.mark.parametrize("mode", ["L", "P", "1", "I", "I;16", "CMYK", "LA"])
def test_pictures_of_all_modes_become_rgb(server, mode):
    save(server, "a.tiff", Image.new(mode, (5, 3)))
    assert server.run("LoadImage", image="a.tiff")[0].shape == (1, 3, 5, 3)


def test_frames_become_a_batch(server):
    first, second = Image.new("L", (4, 4)), Image.new("L", (4, 4), 255)
    save(server, "a.gif", first, save_all=True, append_images=[second])
    assert server.run("LoadImage", image="a.gif")[0].shape == (2, 4, 4, 3)


def test_a_truncated_png_loads_and_leaves_pillow_as_strict_as_before(server):
    content = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(content, "PNG")
    (server.folders.input / "cut.png").write_bytes(content.getvalue()[:4000])
    assert server.run("LoadImage", image="cut.png")[0].shape == (1, 64, 64, 3)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_what_is_no_image_fails_under_pillows_name(server, content):
    (server.folders.input / "page.png").write_bytes(content)
    with pytest.raises(NodeError, match="cannot identify image file") as failed:
        server.run("LoadImage", image="page.png")
    assert failed.value.exception_type == "PIL.UnidentifiedImageError"


def test_missing_files_are_found_out_at_validation(server):
    save(server, "a.png", Image.new("RGB", (5, 3)))
    assert LOAD.validate(server, {"image": "a.png"}) is None
    assert LOAD.validate(server, {"image": "a.png [input]"}) is None
    assert (
        LOAD.validate(server, {"image": "a.png [output]"}) == "Invalid image file: a.png [output]"
    )
    assert LOAD.validate(server, {"image": "b.png"}) == "Invalid image file: b.png"
    (server.root / "secret.png").touch()
    assert LOAD.validate(server, {"image": "../secret.png"}) == "Invalid image file: ../secret.png"


def test_a_file_gone_since_validation_is_a_file_not_found(server):
    with pytest.raises(FileNotFoundError):
        server.run("LoadImage", image="gone.png")


def test_the_fingerprint_follows_the_content(server):
    save(server, "a.png", Image.new("RGB", (5, 3)))
    content = (server.folders.input / "a.png").read_bytes()
    assert LOAD.fingerprint(server, {"image": "a.png"}) == hashlib.sha256(content).hexdigest()


def test_choices_are_the_files_there_are_now(server):
    assert LOAD.choices["image"](server) == []
    save(server, "a.png", Image.new("RGB", (5, 3)))
    assert LOAD.choices["image"](server) == ["a.png"]


# Making ----------------------------------------------------------------------


def test_an_empty_image_has_the_colour_asked_for(server):
    made = server.run("EmptyImage", width=4, height=2, batch_size=3, color=0xFF0033)
    assert made.shape == (3, 2, 4, 3)
    assert made[2, 1, 3] == pytest.approx([1, 0, 0.2])


def test_an_absurd_size_fails_like_a_full_host_and_not_like_a_graphics_card(server):
    with pytest.raises(NodeError, match="DefaultCPUAllocator: can't allocate memory") as failed:
        server.run("EmptyImage", width=16384, height=16384, batch_size=4096, color=0)
    assert failed.value.exception_type == "RuntimeError"
    # One channel is what a real server asks for first.
    said = f"you tried to allocate {16384 * 16384 * 4096 * 4} bytes. Error code 12 (Cannot "
    assert said in failed.value.message


def test_a_size_of_which_one_channel_would_fit_fails_too(server):
    with pytest.raises(NodeError, match=str(16384 * 16384 * 2 * 3 * 4)):
        server.run("EmptyImage", width=16384, height=16384, batch_size=2, color=0)


def test_masks_become_pictures_and_back(server):
    mask = server.run("SolidMask", value=0.25, width=4, height=2)
    assert mask.shape == (1, 2, 4)
    picture = server.run("MaskToImage", mask=mask)
    assert picture.shape == (1, 2, 4, 3)
    assert np.array_equal(server.run("ImageToMask", image=picture, channel="green"), mask)


def test_a_picture_has_no_alpha_to_take(server):
    with pytest.raises(NodeError, match="index 3 is out of bounds") as failed:
        server.run("ImageToMask", image=gradient(), channel="alpha")
    assert failed.value.exception_type == "IndexError"


# Transparency ----------------------------------------------------------------


def test_a_mask_becomes_transparency_and_comes_out_again(server):
    mask = server.run("SolidMask", value=0.75, width=2, height=2)
    joined = server.run("JoinImageWithAlpha", image=gradient(count=2), alpha=mask)
    assert joined.shape == (1, 6, 8, 4)
    assert np.array_equal(joined[..., :3], gradient(count=2)[:1])
    picture, again = server.run("SplitImageWithAlpha", image=joined)
    assert picture.shape == (1, 6, 8, 3)
    assert again.shape == (1, 6, 8)
    assert again == pytest.approx(0.75)
    assert server.run("ImageToMask", image=joined, channel="alpha") == pytest.approx(0.25)


def test_a_picture_without_alpha_is_nowhere_transparent(server):
    picture, mask = server.run("SplitImageWithAlpha", image=gradient())
    assert np.array_equal(picture, gradient())
    assert not mask.any()


def test_transparency_is_saved_but_neither_blended_nor_encoded(server):
    mask = server.run("SolidMask", value=1.0, width=8, height=8)
    joined = server.run("JoinImageWithAlpha", image=gradient(8, 8), alpha=mask)
    shown = server.show("SaveImage", images=joined, filename_prefix="clear")
    with Image.open(server.folders.output / shown["images"][0]["filename"]) as file:
        assert file.mode == "RGBA"
        assert file.getchannel("A").getextrema() == (0, 0)
    blend = {"image1": gradient(8, 8), "image2": joined, "blend_factor": 1.0}
    assert server.run("ImageBlend", **blend, blend_mode="normal").shape == (1, 8, 8, 3)
    laid = server.run(
        "ImageCompositeMasked",
        destination=gradient(8, 8),
        source=joined,
        x=0,
        y=0,
        resize_source=False,
    )
    assert laid.shape == (1, 8, 8, 3)
    _, _, vae = server.run("CheckpointLoaderSimple", ckpt_name="a.safetensors")
    latent = server.run("VAEEncode", pixels=joined, vae=vae)
    assert server.run("VAEDecode", samples=latent, vae=vae).shape == (1, 8, 8, 3)


# Batches ---------------------------------------------------------------------


def test_batches_are_joined_at_the_first_ones_size(server):
    joined = server.run("ImageBatch", image1=gradient(8, 6), image2=gradient(16, 4, count=2))
    assert joined.shape == (3, 6, 8, 3)


def test_parts_of_a_batch_stop_at_its_end(server):
    batch = gradient(count=4)
    part = server.run("ImageFromBatch", image=batch, batch_index=2, length=9)
    assert np.array_equal(part, batch[2:])
    last = server.run("ImageFromBatch", image=batch, batch_index=99, length=1)
    assert np.array_equal(last, batch[3:])


def test_batches_repeat_as_a_whole(server):
    batch = gradient(count=2)
    repeated = server.run("RepeatImageBatch", image=batch, amount=3)
    assert np.array_equal(repeated, np.concatenate([batch] * 3))


def test_sizes_come_in_the_order_width_height_count(server):
    assert server.run("GetImageSize", image=gradient(8, 6, 2)) == (8, 6, 2)


# Changing --------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]),
    st.sampled_from(["disabled", "center"]),
)
def test_scaling_gives_exactly_the_size_asked_for(shared, width, height, method, crop):
    scaled = shared.run(
        "ImageScale", image=gradient(), upscale_method=method, width=width, height=height, crop=crop
    )
    assert scaled.shape == (1, height, width, 3)
    assert scaled.dtype == np.float32
    assert 0 <= scaled.min() <= scaled.max() <= 1


def test_a_side_of_zero_follows_from_the_proportions(server):
    settings = {"image": gradient(8, 6), "upscale_method": "area", "crop": "disabled"}
    assert server.run("ImageScale", width=16, height=0, **settings).shape == (1, 12, 16, 3)
    assert server.run("ImageScale", width=0, height=3, **settings).shape == (1, 3, 4, 3)
    assert server.run("ImageScale", width=0, height=0, **settings).shape == (1, 6, 8, 3)


def test_a_centre_crop_drops_the_sides(server):
    picture = np.zeros((1, 4, 8, 3), np.float32)
    picture[:, :, 2:6] = 1
    settings = {"image": picture, "upscale_method": "nearest-exact", "crop": "center"}
    assert server.run("ImageScale", width=4, height=4, **settings).min() == 1


def test_scaling_by_a_factor_rounds_and_refuses_nothing_left(server):
    scaled = server.run("ImageScaleBy", image=gradient(8, 6), upscale_method="area", scale_by=1.5)
    assert scaled.shape == (1, 9, 12, 3)
    with pytest.raises(NodeError, match="sizes should be greater than 0"):
        server.run("ImageScaleBy", image=gradient(8, 6), upscale_method="area", scale_by=0.01)


def test_inverting_twice_changes_nothing(server):
    once = server.run("ImageInvert", image=gradient())
    assert server.run("ImageInvert", image=once) == pytest.approx(gradient(), abs=1e-6)


def test_blurring_flattens_and_sharpening_does_the_opposite(server):
    edge = np.zeros((1, 16, 16, 3), np.float32)
    edge[:, :, 8:] = 0.5
    edge += 0.25
    soft = server.run("ImageBlur", image=edge, blur_radius=3, sigma=1.0)
    hard = server.run("ImageSharpen", image=edge, sharpen_radius=1, sigma=1.0, alpha=0.1)
    steps = [float(np.abs(np.diff(picture, axis=2)).max()) for picture in (soft, edge, hard)]
    assert steps == sorted(steps)
    assert soft.mean() == pytest.approx(edge.mean(), abs=0.02)


def test_a_blur_wider_than_the_picture_fails_like_torch(server):
    with pytest.raises(NodeError, match="Padding size should be less") as failed:
        server.run("ImageBlur", image=gradient(8, 6), blur_radius=8, sigma=1.0)
    assert failed.value.exception_type == "RuntimeError"


def test_a_crop_ends_with_the_picture(server):
    picture = gradient(8, 6)
    cut = server.run("ImageCrop", image=picture, width=4, height=4, x=6, y=1)
    assert np.array_equal(cut, picture[:, 1:5, 6:8])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("normal", 0.5),
        ("multiply", 0.1),
        ("screen", 0.6),
        ("overlay", 0.2),
        ("soft_light", 0.2),
        ("difference", 0.0),
    ],
)
def test_blend_modes_follow_their_formulas(server, mode, expected):
    dark, light = (np.full((1, 2, 2, 3), value, np.float32) for value in (0.2, 0.5))
    blended = server.run("ImageBlend", image1=dark, image2=light, blend_factor=1.0, blend_mode=mode)
    assert blended == pytest.approx(np.full((1, 2, 2, 3), expected), abs=1e-6)


def test_batches_of_unlike_sizes_do_not_blend(server):
    with pytest.raises(NodeError, match=r"tensor a \(2\) must match the size of tensor b \(3\)"):
        server.run(
            "ImageBlend",
            image1=gradient(count=2),
            image2=gradient(count=3),
            blend_factor=0.5,
            blend_mode="normal",
        )


def test_a_composite_stays_within_the_picture_and_its_mask(server):
    under, over = np.zeros((1, 6, 8, 3), np.float32), np.ones((1, 4, 4, 3), np.float32)
    mask = np.zeros((1, 4, 4), np.float32)
    mask[:, :, :1] = 1
    settings = {"destination": under, "source": over, "resize_source": False}
    plain = server.run("ImageCompositeMasked", x=6, y=4, **settings)
    assert plain.sum() == 2 * 2 * 3
    masked = server.run("ImageCompositeMasked", x=1, y=1, mask=mask, **settings)
    assert masked[0, 1:5, 1].min() == 1
    assert masked.sum() == 4 * 3
    assert not under.any()
    outside = server.run("ImageCompositeMasked", x=50, y=50, **settings)
    assert not outside.any()


def test_padding_is_grey_and_masked_and_fades_where_there_is_a_margin(server):
    picture = np.ones((1, 32, 32, 3), np.float32)
    padded, mask = server.run(
        "ImagePadForOutpaint", image=picture, left=8, top=0, right=0, bottom=16, feathering=4
    )
    assert padded.shape == (1, 48, 40, 3)
    assert mask.shape == (1, 48, 40)
    assert (padded[0, :, :8] == 0.5).all()
    assert (mask[0, :, :8] == 1).all()
    assert mask[0, 0, 39] == 0
    fade = mask[0, 10, 8:14]
    assert fade[0] == 1
    assert (np.diff(fade[:5]) < 0).all()
    assert fade[4] == 0
