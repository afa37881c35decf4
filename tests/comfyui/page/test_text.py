"""Prompts and file names are sent as the page sends them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.page.text import filled_in, resolved_prompt
from tests.comfyui.page.pages import inputs, latent, node, page, sampler, slot, text


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("a {day|night} b", "a day b"),
        ("{one}", "one"),
        ("{|x}y", "y"),
        ("{a{b|c}d|e}f", "abdf"),
        ("{a|{b|c}}d", "ad"),
        ("open {a|b", "open a"),
        ("a } | b", "a } | b"),
        (r"\{a\|b\} (x:1.2) \( ", r"{a|b} (x:1.2) \( "),
        ("end\\", "end\\"),
        ("a // c\nb", "a \nb"),
        ("a /* c\nc */ b", "a  b"),
        ("a /* never closed", "a /* never closed"),
        ("/* a // b */ c", " c"),
        ("see https://x.org", "see https:"),
        ("/*/ a */b", "b"),
        ("/* x // y", "/* x "),
        ("", ""),
    ],
)
def test_a_prompt_loses_its_comments_and_has_the_first_of_each_choice(written, sent):
    assert resolved_prompt(written) == sent


@given(st.text(st.sampled_from("ab{}|\\/*\n% ")))
def test_any_text_is_a_prompt(written):
    assert len(resolved_prompt(written)) <= len(written)


@pytest.mark.parametrize("part", ["/*", "{", "{a|", "//", "\\", "*/", "/*/"])
def test_a_long_prompt_takes_no_long_time(part):
    started = time.perf_counter()
    resolved_prompt(part * 300_000)
    assert time.perf_counter() - started < 5


def test_only_prompts_are_changed_so():
    # A prefix of a file name is no prompt, nor is a class that did not ask for it.
    node_ = node(1, "SaveImage", [slot("images", "IMAGE")], [], ["{a|b}//c"])
    assert inputs(page([node_]), 1)["filename_prefix"] == "{a|b}//c"
    assert inputs(page([text(1, None, "{a|b}//c")]), 1)["text"] == "a"


def saved_as(prefix, *others):
    node_ = node(1, "SaveImage", [slot("images", "IMAGE")], [], [prefix])
    return inputs(page([node_, *others]), 1)["filename_prefix"]


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("%S.seed%_x", "5_x"),
        ("%KSampler.cfg%", "8"),
        ("%Empty Latent Image.width%x%Empty Latent Image.height%", "512x256"),
        ("%S.nope%", "%S.nope%"),
        ("%Nobody.seed%", "%Nobody.seed%"),
        ("%date:yyyy-MM-dd%_%width%", "%date:yyyy-MM-dd%_%width%"),
        ("%date:hh.mm%", "%date:hh.mm%"),
        ("100% sure", "100% sure"),
    ],
)
def test_file_names_have_what_is_in_other_nodes(prefix, name):
    named = sampler(2, title="S", properties={"Node name for S&R": "KSampler"})
    assert saved_as(prefix, named, latent(3, 512, 256)) == name


def test_what_no_file_name_may_hold_is_replaced():
    assert saved_as("%T.text%", text(2, None, "a/b:c\n?", title="T")) == "a_b_c__"


def test_a_file_name_does_not_grow_beyond_measure():
    long = "x" * 100_000
    assert saved_as("%T.text%", text(2, None, long, title="T")) == "%T.text%"
    prefix = "%T.text%" * 1_000
    assert saved_as(prefix, text(2, None, "x", title="T")) == prefix


def test_only_saving_nodes_fill_in_names():
    assert filled_in("%a.b%", lambda _node, _widget: "c") == "c"
    found = inputs(
        page([node(1, "PrimitiveString", [], [], ["%S.seed%"]), sampler(2, title="S")]), 1
    )
    assert found == {"value": "%S.seed%"}


def test_an_old_spelling_of_samplers_is_put_right():
    old = sampler(1) | {"widgets_values": [5, "fixed", 20, 8, "sample_euler", "normal", 1]}
    assert inputs(page([old]), 1)["sampler_name"] == "euler"
