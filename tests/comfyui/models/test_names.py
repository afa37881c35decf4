"""Names: what may be written, and which of a server's names is meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.models.errors import ModelPlaceError
from holdfast.comfyui.models.names import (
    Likeness,
    is_generic,
    is_model_name,
    match_name,
    safe_folder,
    safe_path,
)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../a.safetensors", "climbs"),
        ("a/../../b.safetensors", "climbs"),
        ("a//b.safetensors", "climbs"),
        ("..\\a.safetensors", "climbs"),
        ("/etc/a.safetensors", "absolute"),
        ("\\\\server\\share\\a.safetensors", "absolute"),
        ("C:\\a.safetensors", "no file name may hold"),
        ("a.safetensors:stream.safetensors", "no file name may hold"),
        ("a\x00.safetensors", "no file name may hold"),
        ("a\u202e.safetensors", "no file name may hold"),
        ("con.safetensors", "means a device"),
        ("sub/LPT1.x/a.safetensors", "means a device"),
        (".hidden/a.safetensors", "begins or ends in a dot"),
        ("sub /a.safetensors", "begins or ends in a dot or a space"),
        ("a.py", "not that of a model file"),
        ("a", "not that of a model file"),
        ("ä" * 150 + ".safetensors", "longer than 200 bytes"),
        ("/".join("a" * 20) + ".safetensors", "more than 16 parts"),
        ("a" * 2_000 + ".safetensors", "1 to 1000 letters"),
        ("", "1 to 1000 letters"),
    ],
)
def test_a_name_that_leads_elsewhere_or_fits_nowhere_is_refused(name, why):
    with pytest.raises(ModelPlaceError, match=why):
        safe_path(name)


def test_a_plain_name_is_taken_with_either_slash():
    assert (
        str(safe_path("SDXL\\base v1.0 (fp16).safetensors")) == "SDXL/base v1.0 (fp16).safetensors"
    )


@given(st.text(max_size=40) | st.text("./\\:aC", max_size=20).map(lambda t: t + ".pt"))
def test_whatever_is_taken_stays_below_its_folder(name):
    try:
        path = safe_path(name)
    except ModelPlaceError:
        return
    assert not path.is_absolute()
    assert not {"..", ".", ""} & set(path.parts)


@pytest.mark.parametrize("folder", ["..", "a/b", "custom_nodes", "", ".quarantine", "nul", "a b"])
def test_a_folder_is_a_kind_of_models(folder):
    with pytest.raises(ModelPlaceError):
        safe_folder(folder)
    assert safe_folder("checkpoints") == "checkpoints"


CHOICES = ("SDXL\\base.safetensors", "sd15.safetensors", "a/twin.safetensors", "b/twin.safetensors")


@pytest.mark.parametrize(
    ("name", "found", "likeness"),
    [
        ("sd15.safetensors", "sd15.safetensors", Likeness.SAME),
        ("SDXL/base.safetensors", "SDXL\\base.safetensors", Likeness.SLASHES),
        ("sdxl/Base.safetensors", "SDXL\\base.safetensors", Likeness.CASE),
        ("old/base.safetensors", "SDXL\\base.safetensors", Likeness.SUBFOLDER),
        ("base.safetensors", "SDXL\\base.safetensors", Likeness.SUBFOLDER),
        ("a\\twin.safetensors", "a/twin.safetensors", Likeness.SLASHES),
    ],
)
def test_the_smallest_difference_decides(name, found, likeness):
    match = match_name(name, CHOICES)
    assert (match.name, match.likeness) == (found, likeness)


def test_nothing_is_guessed():
    assert match_name("sd16.safetensors", CHOICES).name is None
    twins = match_name("twin.safetensors", CHOICES)
    assert twins.name is None
    assert twins.candidates == ("a/twin.safetensors", "b/twin.safetensors")
    two = match_name("x.safetensors", ("X.safetensors", "x.Safetensors"))
    assert two.name is None
    assert len(two.candidates) == 2


@pytest.mark.parametrize(
    "name",
    [
        "diffusion_pytorch_model.safetensors",
        "flux/diffusion_pytorch_model.fp16.safetensors",
        "model-00001-of-00002.safetensors",
        "pytorch_lora_weights.safetensors",
    ],
)
def test_a_name_that_says_nothing_is_not_found_in_another_folder(name):
    assert is_generic(name)
    assert match_name(name, ("other/" + name.rpartition("/")[2],)).name is None
    assert not is_generic("flux1-dev.safetensors")


@given(st.text(max_size=30), st.lists(st.text(max_size=30), max_size=6))
def test_a_match_is_always_one_of_the_choices(name, choices):
    match = match_name(name, choices)
    assert match.name is None or match.name in choices
    if name in choices:
        assert match.name == name


def test_what_looks_like_a_model():
    assert is_model_name("a/B.SafeTensors")
    assert not is_model_name("euler")
    assert not is_model_name("v1-inference.yaml")
    assert not is_model_name(7)
