"""Where models come from: what is declared, what lists say, and what strangers may not say."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.comfyui.models.lists import largest, read_hints, read_model_list
from holdfast.comfyui.models.sources import Source, Sources, shown_url
from holdfast.errors import BadInputError

HOST = "https://models.example"


def entry(**more):
    return {
        "name": "An upscaler",
        "type": "upscale",
        "base": "upscale",
        "save_path": "default",
        "filename": "4x.pth",
        "url": f"{HOST}/4x.pth",
        "size": "4.71MB",
    } | more


def test_a_list_of_comfyui_manager_is_read(tmp_path):
    path = tmp_path / "model-list.json"
    models = [
        entry(),
        entry(save_path="checkpoints/SDXL", filename="base.safetensors", url=f"{HOST}/b"),
        entry(type="unet", save_path="unet", filename="flux.sft", url=f"{HOST}/f"),
        entry(save_path="custom_nodes/pack/models", filename="in_pack.pth"),
        entry(save_path="../../etc", filename="climbs.pth"),
        entry(filename="../climbs.pth"),
        entry(filename="<huggingface>", url=f"{HOST}/repo"),
        entry(filename="run.py"),
        entry(url="ftp://x/y.pth"),
        entry(type="etc", filename="nowhere.pth"),
        "nonsense",
    ]
    path.write_text(json.dumps({"models": models}), encoding="utf-8")
    sources = Sources.of(path)
    assert len(sources) == 3
    upscaler = sources.find("4x.pth", "upscale_models")
    assert (upscaler.url, upscaler.folder) == (f"{HOST}/4x.pth", "upscale_models")
    assert 4_938_792 < upscaler.limit < 8_000_000
    assert sources.find("SDXL\\Base.safetensors", "checkpoints").url == f"{HOST}/b"
    assert sources.find("flux.sft", "diffusion_models").url == f"{HOST}/f"
    assert sources.find("4x.pth", "loras") is None
    assert Sources.of(str(path)).find("4x.pth") == upscaler


def test_a_name_is_found_in_another_folder_only_if_it_can_mean_nothing_else():
    sources = Sources.of(
        [
            Source(f"{HOST}/1", "a/one.safetensors"),
            Source(f"{HOST}/2", "a/two.safetensors"),
            Source(f"{HOST}/3", "b/two.safetensors"),
            Source(f"{HOST}/4", "a/diffusion_pytorch_model.safetensors"),
        ]
    )
    assert sources.find("one.safetensors").url == f"{HOST}/1"
    assert sources.find("two.safetensors") is None
    assert sources.find("b/two.safetensors").url == f"{HOST}/3"
    assert sources.find("diffusion_pytorch_model.safetensors") is None


def test_hints_of_a_workflow_are_read_with_their_hash_in_subgraphs_too():
    hint = {
        "name": "clip_l.safetensors",
        "url": f"{HOST}/clip_l.safetensors",
        "directory": "clip",
        "hash": "A" * 64,
        "hash_type": "SHA256",
    }
    inner = {"nodes": [{"properties": {"models": [hint | {"name": "b.sft", "hash": "x"}]}}]}
    page = {
        "nodes": [{"properties": {"models": [hint, {"name": 7}]}}, {"properties": {}}, None],
        "definitions": {"subgraphs": [inner]},
        "models": [hint | {"name": "evil.ckpt"}],
    }
    sources = Sources.of(page)
    found = sources.find("clip_l.safetensors", "text_encoders")
    assert found.sha256 == "a" * 64
    assert found.from_workflow
    assert sources.find("b.sft").sha256 is None
    # A workflow's word alone brings no file that can hold code.
    assert sources.find("evil.ckpt") is None


def test_sources_may_be_written_in_short():
    sources = Sources.of(
        [f"{HOST}/a%20b.safetensors?download=true", {"sub/c.pth": "hf://owner/repo/c.pth"}]
    )
    assert sources.find("a b.safetensors").url.endswith("?download=true")
    assert sources.find("sub/c.pth").url == "hf://owner/repo/c.pth"
    both = Sources.of({"x.pt": Source(f"{HOST}/y.pt", size=5)}) + sources
    assert both.find("x.pt").size == 5
    assert len(both) == 3
    assert len(Sources.of(None)) == 0


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: Source("ftp://a/b.pth"), "must begin with https"),
        (lambda: Source("https://u:secret@a/b.pth"), "no password"),
        (lambda: Source("https://a/b.py"), "not that of a model"),
        (lambda: Source("https://a/b.pth", sha256="12"), "64 hexadecimal"),
        (lambda: Source("https://a/b.pth", size=0), "size must be"),
        (lambda: Source("https://[::1/b.pth"), "must be an address"),
        (lambda: Source("https://a/b.pth", folder="../x"), "kind of models"),
        (lambda: Source("https://a/b.pth", from_workflow=True), "can hold code"),
        (lambda: Sources.of(7), "sources must be"),
        (lambda: Sources.of({"a.pt": 7}), "must be an address"),
        (lambda: Sources.of("no/such/file.json"), "cannot read the list"),
    ],
)
def test_a_source_that_cannot_be_is_refused_in_words(made, why):
    with pytest.raises(BadInputError, match=why) as raised:
        made()
    assert "secret" not in str(raised.value)


def test_what_may_be_secret_in_an_address_is_not_shown():
    shown = shown_url("https://u:pw@host:81/a/b?token=abc#x")
    assert shown == "https://host:81/a/b"
    assert shown_url("https://[bad") == "an address that cannot be read"


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [("4.71MB", 4.71e6, 7e6), ("2 GB", 2 * 2**30, 2.3 * 2**30), ("10kb", 10_240, 1.1e6)],
)
def test_a_size_in_words_is_an_upper_limit(text, least, most):
    assert least <= largest(text) <= most


@pytest.mark.parametrize("text", ["", "big", "-1MB", "0MB", "9" * 50 + "GB", None, 7])
def test_a_size_that_says_nothing_is_none(text):
    assert largest(text) is None


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["models", "nodes", "properties", "url", "name", "definitions", "type"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(["models", "nodes", "definitions"]), any_json))
def test_whatever_a_list_holds_is_read_or_left_out(loaded):
    list(read_model_list(loaded))
    list(read_hints(loaded))
    with contextlib.suppress(BadInputError):
        Sources.of(loaded)
