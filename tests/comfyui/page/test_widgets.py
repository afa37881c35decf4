"""Values find the inputs they belong to."""

from __future__ import annotations

import pytest

from holdfast.comfyui.catalog import Catalog
from tests.comfyui.page.pages import inputs, latent, node, out, page, sampler, sent, slot


def of(kind, values, *, known=None, ins=()):
    """The inputs sent for one node of a class with these values."""
    return inputs(page([node(1, kind, list(ins), [], values)]), 1, known)


def server(**required):
    """A server with one class, A."""
    return Catalog.parse({"A": {"input": {"required": required}, "output": []}})


def test_the_control_after_a_seed_is_passed_over():
    values = [42, "randomize", 30, 7.5, "ddim", "karras", 0.5]
    assert of("KSampler", values) == {
        "seed": 42,
        "steps": 30,
        "cfg": 7.5,
        "sampler_name": "ddim",
        "scheduler": "karras",
        "denoise": 0.5,
    }


def test_the_control_may_be_anything():
    # As in the page's own default workflow, which trips up converters that look at the value.
    assert of("KSampler", [42, True, 20, 8, "euler", "normal", 1])["steps"] == 20


def test_a_seed_of_a_class_that_asks_for_no_control_has_one_all_the_same():
    known = server(seed=["INT", {}], x=["INT", {}])
    assert of("A", [1, "fixed", 2], known=known) == {"seed": 1, "x": 2}
    known = server(seed=["INT", {"control_after_generate": False}], x=["INT", {}])
    assert of("A", [1, 2], known=known) == {"seed": 1, "x": 2}


def test_a_list_with_a_control_has_a_filter_too():
    known = server(c=[["a", "b"], {"control_after_generate": True}], x=["INT", {}])
    assert of("A", ["b", "increment", "*", 5], known=known) == {"c": "b", "x": 5}


def test_sockets_have_no_place_among_the_values():
    known = server(m=["MODEL"], x=["INT", {}], f=["INT", {"forceInput": True}], y=["INT", {}])
    assert of("A", [1, 2], known=known) == {"x": 1, "y": 2}


def test_a_value_kept_from_when_a_socket_was_a_widget_is_passed_over():
    known = server(seed=["INT", {}], f=["INT", {"forceInput": True}], y=["INT", {}])
    assert of("A", [1, "fixed", 99, 2], known=known) == {"seed": 1, "y": 2}
    assert of("A", [1, "fixed", 2], known=known) == {"seed": 1, "y": 2}


def test_an_optional_input_that_stands_open_by_default_is_a_socket():
    group = {"optional": {"seed": ["INT", {"defaultInput": True}], "x": ["INT", {}]}}
    known = Catalog.parse({"A": {"input": group, "output": []}})
    assert of("A", [5], known=known) == {"x": 5}


def test_a_linked_widget_keeps_its_place():
    taking = sampler(2)
    taking["inputs"].insert(0, slot("steps", "INT", 1, widget=True))
    number = node(1, "PrimitiveInt", [], [out("INT", 1)], [33, "fixed"])
    found = inputs(page([number, taking], [[1, 1, 0, 2, 0, "INT"]]), 2)
    assert found["steps"] == ["1", 0]
    assert (found["seed"], found["cfg"]) == (5, 8)


def test_values_by_name_go_where_they_are_named():
    named = {"steps": 3, "cfg": 2, "videopreview": {"hidden": False}}
    found = of("KSampler", named)
    assert (found["steps"], found["cfg"], found["denoise"]) == (3, 2, 1)
    assert "videopreview" not in found


@pytest.mark.parametrize("values", [None, [], [64]])
def test_what_was_not_saved_is_what_a_new_node_has(values):
    found = of("EmptyLatentImage", values)
    assert (found["height"], found["batch_size"]) == (512, 1)


def test_defaults_follow_the_type():
    known = server(
        i=["INT"],
        f=["FLOAT", {}],
        b=["BOOLEAN", {}],
        s=["STRING", {}],
        c=[["x", "y"]],
        d=["COMBO", {"options": ["p", "q"], "default": "q"}],
        m=["COMBO", {"options": ["p"], "multi_select": {}}],
        none=[[]],
    )
    assert of("A", None, known=known) == {
        "i": 0,
        "f": 0,
        "b": False,
        "s": "",
        "c": "x",
        "d": "q",
        "m": {"__value__": []},
    }


def test_lists_are_wrapped_so_that_they_are_no_links():
    assert of("EmptyLatentImage", [["5", 0]])["width"] == {"__value__": ["5", 0]}


def test_more_values_than_widgets_are_left_over():
    assert of("EmptyLatentImage", [1, 2, 3, 4, 5]) == {"width": 1, "height": 2, "batch_size": 3}


def test_the_upload_button_is_passed_over():
    assert of("LoadImage", ["a.png", "image"]) == {"image": "a.png"}
    assert of("LoadImageMask", ["a.png", "red", "image"]) == {"image": "a.png", "channel": "red"}
    assert of("LoadAudio", ["a.wav", None, ""]) == {"audio": "a.wav"}


@pytest.mark.parametrize(
    ("value", "sent_as"),
    [
        ("a.png", "a.png [output]"),
        ("a.png [input]", "a.png [input]"),
        ("a.png [output]", "a.png [output]"),
        (["a.png", "b.png"], "a.png [output]"),
        ({"filename": "a.png", "subfolder": "s", "type": "temp"}, "s/a.png [temp]"),
        ({"filename": "a.png", "subfolder": "", "type": "input"}, "a.png"),
    ],
)
def test_a_file_from_another_folder_says_so(value, sent_as):
    assert of("LoadImageOutput", [value])["image"] == sent_as


def test_the_model_viewer_of_a_saving_node_is_passed_over():
    found = of("SaveGLB", ["mesh/x", ""], ins=[slot("mesh", "MESH")])
    assert found == {"filename_prefix": "mesh/x"}


def test_a_text_area_holds_text_with_one_kind_of_line_end():
    found = [of("CLIPTextEncode", [value])["text"] for value in ("a\r\nb\rc", None, 7, 7.0, True)]
    assert found == ["a\nb\nc", "", "7", "7", "true"]


CHOICE = [
    "COMFY_DYNAMICCOMBO_V3",
    {
        "options": [
            {
                "key": "by size",
                "inputs": {"required": {"width": ["INT", {"default": 8}], "height": ["INT", {}]}},
            },
            {"key": "by factor", "inputs": {"optional": {"factor": ["FLOAT", {"default": 2}]}}},
            {"key": "as is", "inputs": {}},
        ]
    },
]


@pytest.mark.parametrize(
    ("values", "brought"),
    [
        (["by size", 10, 20, 5], {"mode.width": 10, "mode.height": 20}),
        (["by factor", 1.5, 5], {"mode.factor": 1.5}),
        (["as is", 5], {}),
    ],
)
def test_a_choice_brings_its_own_inputs_right_behind_it(values, brought):
    known = server(image=["IMAGE"], mode=CHOICE, last=["INT", {}])
    assert of("A", values, known=known) == {"mode": values[0], **brought, "last": 5}


def test_inputs_that_a_choice_brought_may_be_linked():
    known = Catalog.parse(
        {
            "A": {"input": {"required": {"mode": CHOICE}}, "output": []},
            "B": {"input": {"required": {}}, "output": ["INT"]},
        }
    )
    ins = [slot("mode", "COMBO", widget=True), slot("mode.width", "INT", 1, widget=True)]
    document = page(
        [node(2, "B", [], [out("INT", 1)]), node(1, "A", ins, [], ["by size", 10, 20])],
        [[1, 2, 0, 1, 1, "INT"]],
    )
    found = inputs(document, 1, known)
    assert found == {"mode": "by size", "mode.width": ["2", 0], "mode.height": 20}


def test_inputs_of_a_growing_list_are_sent_by_their_names():
    known = Catalog.parse(
        {
            "A": {"input": {"required": {"images": ["COMFY_AUTOGROW_V3", {}]}}, "output": []},
            "B": {"input": {"required": {}}, "output": ["IMAGE"]},
        }
    )
    ins = [slot("images.image0", "IMAGE", 1), slot("images.image1", "FLOAT", 1, widget=True)]
    document = page(
        [node(2, "B", [], [out("IMAGE", 1)]), node(1, "A", ins)], [[1, 2, 0, 1, 0, "IMAGE"]]
    )
    found = inputs(document, 1, known)
    assert found == {"images.image0": ["2", 0], "images.image1": ["2", 0]}


def test_a_curve_is_marked_as_one():
    known = server(c=["CURVE", {}])
    assert of("A", [[[0, 0]]], known=known)["c"] == {"__type__": "CURVE", "__value__": [[0, 0]]}


# Primitives ------------------------------------------------------------------------------


def fed(kind, value, target, name, slot_type):
    """What a node is sent whose widget a primitive is linked to."""
    primitive = node(1, "PrimitiveNode", [], [out(kind, 1)], [value, "fixed"])
    target["inputs"].append(slot(name, slot_type, 1, widget=True))
    at = len(target["inputs"]) - 1
    return inputs(page([primitive, target], [[1, 1, 0, 2, at, kind]]), 2)


def test_a_primitive_writes_its_value_and_is_not_sent():
    assert fed("INT", 30, sampler(2), "steps", "INT")["steps"] == 30
    document = page([node(1, "PrimitiveNode", [], [out("INT")], [5]), latent(2)])
    assert sent(document).keys() == {"2"}


@pytest.mark.parametrize(("given", "held"), [(1023, 1024), (1020, 1024), (1019, 1016), (1, 16)])
def test_a_primitive_keeps_to_the_steps_and_limits_of_what_it_writes_into(given, held):
    assert fed("INT", given, latent(2), "width", "INT")["width"] == held


def test_a_large_seed_is_not_rounded():
    seed = 2**63 + 1
    assert fed("INT", seed, sampler(2), "seed", "INT")["seed"] == seed


@pytest.mark.parametrize(("given", "held"), [(3.14159, 3.1), (1e9, 100), (-3, 0)])
def test_a_fraction_is_rounded_as_its_input_asks(given, held):
    assert fed("FLOAT", given, sampler(2), "cfg", "FLOAT")["cfg"] == held


@pytest.mark.parametrize("value", ["x", None, True, [1], {"a": 1}, float("inf"), 10**400])
def test_an_odd_value_in_a_primitive_does_no_harm(value):
    assert "steps" in fed("INT", value, sampler(2), "steps", "INT")


def test_a_primitive_without_a_value_has_that_of_its_first_target():
    primitive = node(1, "PrimitiveNode", [], [out("INT", 2, 1)])
    nodes = [primitive, latent(2, 640), latent(3, 768)]
    for at in (1, 2):
        nodes[at]["inputs"] = [slot("width", "INT", at, widget=True)]
    links = [[1, 1, 0, 2, 0, "INT"], [2, 1, 0, 3, 0, "INT"]]
    graph = sent(page(nodes, links))
    assert [graph[key][1]["width"] for key in "23"] == [768, 768]
