"""What is open is filled in, what does not fit is brought to fit, and both are said."""

import pytest

from holdfast.comfyui.engines import LADDERS, RECIPES, Lora, Rung
from holdfast.comfyui.engines.settling import settle
from holdfast.comfyui.engines.wish import Wish


def recipe(name):
    return next(each for each in RECIPES if each.name == name)


def settled(name, rung=None, home=None, **wanted):
    found = recipe(name)
    wish = Wish(**({"prompt": "a", "seed": 1} | wanted))
    return settle(wish, found, rung or Rung("quality", name), home=home or found.family)


@pytest.mark.parametrize("each", RECIPES, ids=lambda each: each.name)
def test_a_recipes_own_size_and_length_are_on_its_grid(each):
    picture = (700, 700) if each.image else None
    done = settle(Wish("a", 1, picture=picture), each, Rung("q", each.family), home=each.family)
    assert not done.changed
    settings = done.settings
    if picture is None:
        assert (settings.width, settings.height) == (each.width, each.height)
    assert settings.width % each.grid.side == settings.height % each.grid.side == 0
    if each.kind == "video":
        assert (settings.frames - 1) % each.grid.stride == 0
        assert settings.frames == each.frames


def test_a_size_off_the_grid_is_snapped_and_said():
    done = settled("sdxl", width=1001, height=832)
    assert (done.settings.width, done.settings.height) == (1000, 832)
    assert done.changed == (
        "width: 1001 pixels became 1000, because sdxl makes multiples of 8 from 256",
    )


def test_one_side_given_the_other_follows_the_models_proportions():
    done = settled("ltxv", width=384)
    assert (done.settings.width, done.settings.height) == (384, 256)
    assert done.changed == ()


def test_a_picture_given_sets_the_proportions_at_the_models_area():
    done = settled("sdxl", picture=(4000, 2000))
    width, height = done.settings.width, done.settings.height
    assert width / height == pytest.approx(2, rel=0.02)
    assert 0.8 * 1024**2 < width * height <= 1024**2
    assert done.settings.denoise == recipe("sdxl").denoise


def test_frames_off_the_grid_are_snapped_and_said():
    done = settled("ltxv", frames=100)
    assert done.settings.frames == 97
    assert "100 became 97" in done.changed[0]


def test_seconds_become_frames_and_only_a_real_difference_is_said():
    assert settled("wan2.1-1.3b", seconds=5).settings.frames == 81
    assert settled("wan2.1-1.3b", seconds=5).changed == ()
    done = settled("ltxv", seconds=0.5)
    assert "0.5 s became 0.36 s (9 frames)" in done.changed[0]


def test_a_lower_rung_makes_less_and_says_so():
    rung = LADDERS["sdxl"][1]
    done = settled("sdxl", rung, width=1216, height=832, steps=40)
    width, height = done.settings.width, done.settings.height
    assert width * height <= 768 * 768
    assert width / height == pytest.approx(1216 / 832, rel=0.1)
    assert done.settings.steps == 24
    assert len(done.changed) == 2
    assert "rung standard" in done.changed[0]


def test_a_rung_never_makes_more_than_was_asked():
    rung = Rung("standard", "sdxl", pixels=768 * 768, steps=24)
    done = settled("sdxl", rung, width=512, height=512, steps=10)
    assert (done.settings.width, done.settings.height, done.settings.steps) == (512, 512, 10)
    assert done.changed == ()


def test_a_shorter_clip_keeps_its_speed():
    done = settled("wan2.1-1.3b", Rung("basic", "wan2.1", frames=50), frames=81)
    assert done.settings.frames == 49
    assert done.settings.fps == 16
    assert "81 became 49" in done.changed[0]


def test_what_means_something_to_one_family_only_does_not_follow_to_another():
    wanted = {"cfg": 3.0, "steps": 8, "sampler": "lcm", "loras": (Lora("style"),)}
    done = settled("sd15", Rung("basic", "sd15"), home="flux", **wanted)
    own = recipe("sd15")
    assert done.settings.loras == ()
    assert (done.settings.cfg, done.settings.steps) == (own.cfg, own.steps)
    assert done.settings.sampler == own.sampler
    assert any("style" in each for each in done.changed)
    assert any("steps, cfg, sampler" in each for each in done.changed)


def test_what_has_no_effect_is_noted():
    assert "no effect" in settled("flux-dev", negative="text").notes[0]
    assert settled("flux-dev", negative="text", cfg=3.0).notes == ()
    assert "no effect" in settled("hunyuan-video", negative="text").notes[0]
    assert any("cfg" in each for each in settled("hunyuan-video", cfg=5.0).notes)
    assert any("guidance" in each for each in settled("sdxl", guidance=5.0).notes)
    assert any("another speed" in each for each in settled("wan2.1-1.3b", fps=24).notes)


def test_no_negative_prompt_is_not_the_same_as_an_empty_one():
    assert settled("ltxv").settings.negative.startswith("low quality")
    assert settled("ltxv", negative="").settings.negative == ""
