"""What a graph's faults are called, as table: each answer as a real v0.3.64 gives it."""

import pytest

from holdfast.comfyui.standin.node import NodeClass, NodeOutput
from holdfast.comfyui.standin.validate import fits, validate_prompt

WIDTH = ("INT", {"default": 512, "min": 1, "max": 16384, "step": 1})


class Files:
    """A disk that holds one model."""

    names = ("tiny.safetensors",)

    def models(self, _folder):
        return list(self.names)


def run(context):
    return NodeOutput()


def judge_image(_files, inputs):
    name = inputs["image"]
    return None if name.endswith("ok.png") else f"Invalid image file: {name}"


CATALOG = {
    node.name: node
    for node in (
        NodeClass(
            "EmptyImage",
            run,
            {"width": WIDTH, "height": WIDTH, "color": ("INT", {"default": 0})},
            outputs=("IMAGE",),
        ),
        NodeClass(
            "ImageScale",
            run,
            {
                "image": ("IMAGE",),
                "method": (["area", "lanczos"],),
                "factor": ("FLOAT", {"max": 8.0}),
            },
            {"sharp": ("BOOLEAN", {}), "label": ("STRING", {})},
            outputs=("IMAGE", "MASK"),
        ),
        NodeClass("PreviewImage", run, {"images": ("IMAGE",)}, output_node=True),
        NodeClass(
            "Loader",
            run,
            {"ckpt_name": ([], {"tooltip": "t"})},
            outputs=("MODEL",),
            choices={"ckpt_name": lambda files: files.models("checkpoints")},
        ),
        NodeClass(
            "LoadImage",
            run,
            {"image": (["ok.png"], {"image_upload": True})},
            outputs=("IMAGE", "MASK"),
            validate=judge_image,
            validates=("image",),
        ),
        NodeClass("Model", run, {"model": ("MODEL",)}, output_node=True),
        NodeClass("Any", run, {"value": ("*",)}, output_node=True),
        NodeClass("Modern", run, {"mode": ("COMBO", {"options": ["a"]})}, output_node=True),
    )
}


def image(**inputs):
    return {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "color": 0, **inputs}}


def shown(link):
    return {"class_type": "PreviewImage", "inputs": {"images": link}}


def judge(prompt, targets=None, files=None):
    return validate_prompt(prompt, CATALOG, files or Files(), targets)


def problem(verdict, node_id):
    (found,) = verdict.node_errors[node_id]["errors"]
    return found


NO_OUTPUTS = {
    "type": "prompt_no_outputs",
    "message": "Prompt has no outputs",
    "details": "",
    "extra_info": {},
}


def test_a_good_graph():
    verdict = judge({"1": image(), "2": shown(["1", 0])})
    assert (verdict.error, verdict.outputs, verdict.node_errors) == (None, ["2"], {})


@pytest.mark.parametrize("prompt", [{}, [], {"1": image()}])
def test_no_outputs(prompt):
    assert judge(prompt).error == NO_OUTPUTS


def test_targets_choose_outputs():
    prompt = {"1": image(), "2": shown(["1", 0]), "3": shown(["1", 0])}
    assert judge(prompt, ["3"]).outputs == ["3"]
    assert judge(prompt, ["77"]).error == NO_OUTPUTS


@pytest.mark.parametrize("node", ["x", {"inputs": {}}])
def test_a_node_without_class(node):
    assert judge({"1": node, "2": shown(["1", 0])}).error == {
        "type": "invalid_prompt",
        "message": "Cannot execute because a node is missing the class_type property.",
        "details": "Node ID '#1'",
        "extra_info": {},
    }


def test_an_unknown_class_anywhere_refuses_the_whole_graph():
    unused = {"class_type": "NoSuchNode", "inputs": {}}
    verdict = judge({"1": image(), "2": shown(["1", 0]), "9": unused})
    assert verdict.error["message"] == "Cannot execute because node NoSuchNode does not exist."
    assert verdict.error["details"] == "Node ID '#9'"
    assert verdict.node_errors == {}


@pytest.mark.parametrize("prompt", [None, "hello", {"1": None}, {"1": {"class_type": []}}, 5])
def test_what_is_no_graph_at_all_raises(prompt):
    with pytest.raises((TypeError, KeyError)):
        judge(prompt)


INNER = [
    ({"width": 0}, "value_smaller_than_min", "Value 0 smaller than min of 1", "width", 0),
    (
        {"width": 99999},
        "value_bigger_than_max",
        "Value 99999 bigger than max of 16384",
        "width",
        99999,
    ),
]


@pytest.mark.parametrize(("inputs", "kind", "message", "name", "value"), INNER)
def test_limits(inputs, kind, message, name, value):
    verdict = judge({"1": image(**inputs), "2": shown(["1", 0])})
    assert verdict.error["type"] == "prompt_outputs_failed_validation"
    assert verdict.error["details"] == ""
    assert verdict.node_errors == {
        "1": {
            "errors": [
                {
                    "type": kind,
                    "message": message,
                    "details": name,
                    "extra_info": {
                        "input_name": name,
                        "input_config": ("INT", WIDTH[1]),
                        "received_value": value,
                    },
                }
            ],
            "dependent_outputs": ["2"],
            "class_type": "EmptyImage",
        }
    }


def test_missing_input():
    prompt = {"1": image(), "2": shown(["1", 0])}
    del prompt["1"]["inputs"]["color"]
    assert problem(judge(prompt), "1") == {
        "type": "required_input_missing",
        "message": "Required input is missing",
        "details": "color",
        "extra_info": {"input_name": "color"},
    }


def test_a_value_that_is_no_number():
    found = problem(judge({"1": image(width="x"), "2": shown(["1", 0])}), "1")
    assert found["type"] == "invalid_input_type"
    assert found["message"] == "Failed to convert an input value to a INT value"
    assert found["details"] == "width, x, invalid literal for int() with base 10: 'x'"
    assert list(found["extra_info"]) == [
        "input_name",
        "input_config",
        "received_value",
        "exception_message",
    ]


def test_values_are_coerced_in_place():
    scale = {"image": ["1", 0], "method": "area", "factor": "2", "sharp": "no", "label": 5}
    prompt = {
        "1": image(width="64", height=64.9, bogus="kept"),
        "2": {"class_type": "ImageScale", "inputs": scale},
        "3": shown(["2", 0]),
    }
    assert judge(prompt).error is None
    assert prompt["1"]["inputs"] == {"width": 64, "height": 64, "color": 0, "bogus": "kept"}
    assert (scale["factor"], scale["sharp"], scale["label"]) == (2.0, True, "5")


def test_a_wrapped_value_is_unwrapped():
    prompt = {"1": image(width={"__value__": 64}), "2": shown(["1", 0])}
    assert judge(prompt).error is None
    assert prompt["1"]["inputs"]["width"] == 64


def loader(name):
    return {
        "1": {"class_type": "Loader", "inputs": {"ckpt_name": name}},
        "2": {"class_type": "Model", "inputs": {"model": ["1", 0]}},
    }


def test_a_missing_model_lists_what_there_is():
    assert judge(loader("tiny.safetensors")).error is None
    assert problem(judge(loader("big.safetensors")), "1") == {
        "type": "value_not_in_list",
        "message": "Value not in list",
        "details": "ckpt_name: 'big.safetensors' not in ['tiny.safetensors']",
        "extra_info": {
            "input_name": "ckpt_name",
            "input_config": (["tiny.safetensors"], {"tooltip": "t"}),
            "received_value": "big.safetensors",
        },
    }


def test_a_long_list_is_not_repeated():
    files = Files()
    files.names = tuple(f"{number}.safetensors" for number in range(21))
    found = problem(judge(loader("x"), files=files), "1")
    assert found["details"] == "ckpt_name: 'x' not in (list of length 21)"
    assert found["extra_info"]["input_config"] is None


def test_a_class_may_judge_its_inputs_itself():
    def load(name):
        return {"1": {"class_type": "LoadImage", "inputs": {"image": name}}, "2": shown(["1", 0])}

    assert judge(load("ok.png")).error is None
    assert problem(judge(load("no.png")), "1") == {
        "type": "custom_validation_failed",
        "message": "Custom validation failed for node",
        "details": "image - Invalid image file: no.png",
        "extra_info": {"input_name": "image"},
    }


@pytest.mark.parametrize(
    ("inputs", "kind", "words"),
    [
        (
            {},
            "TypeError",
            "LoadImage.VALIDATE_INPUTS() missing 1 required positional argument: 'image'",
        ),
        ({"image": 5}, "AttributeError", "'int' object has no attribute 'endswith'"),
        ({"image": None}, "AttributeError", "'NoneType' object has no attribute 'endswith'"),
    ],
    ids=repr,
)
def test_a_judgement_that_fails_is_the_only_thing_said_of_a_node(inputs, kind, words):
    prompt = {"1": {"class_type": "LoadImage", "inputs": inputs}, "2": shown(["1", 0])}
    found = problem(judge(prompt), "1")
    assert found["type"] == "exception_during_inner_validation"
    assert found["details"] == words
    assert found["extra_info"]["exception_type"] == kind


def test_modern_combos_are_not_checked():
    assert judge({"1": {"class_type": "Modern", "inputs": {"mode": "nope"}}}).error is None


@pytest.mark.parametrize(
    ("link", "details", "kind"),
    [
        (["99", 0], "'99'", "KeyError"),
        ([1, 0], "1", "KeyError"),
        (["1", 5], "tuple index out of range", "IndexError"),
        (["1", "0"], "tuple indices must be integers or slices, not str", "TypeError"),
    ],
)
def test_a_bad_link_at_an_output_node(link, details, kind):
    verdict = judge({"1": image(), "2": shown(link)})
    found = problem(verdict, "2")
    assert verdict.error["details"] == f"Exception when validating node: {details}"
    assert (found["type"], found["message"]) == (
        "exception_during_validation",
        "Exception when validating node",
    )
    assert found["details"] == details
    assert list(found["extra_info"]) == ["exception_type", "traceback"]
    assert found["extra_info"]["exception_type"] == kind


def test_a_bad_link_further_in_is_blamed_on_the_inner_node():
    inner = {
        "class_type": "ImageScale",
        "inputs": {"image": ["99", 0], "method": "area", "factor": 1},
    }
    verdict = judge({"1": inner, "2": shown(["1", 0])})
    found = problem(verdict, "1")
    assert verdict.error["details"] == ""
    assert found["type"] == "exception_during_inner_validation"
    assert found["message"] == "Exception when validating inner node"
    assert list(found["extra_info"]) == [
        "input_name",
        "input_config",
        "exception_message",
        "exception_type",
        "traceback",
        "linked_node",
    ]
    assert found["extra_info"]["linked_node"] == ["1", 0]


def test_a_node_without_inputs_key():
    verdict = judge({"1": {"class_type": "EmptyImage"}, "2": shown(["1", 0])})
    assert problem(verdict, "1")["details"] == "'inputs'"


def test_slot_minus_one_is_accepted():
    assert judge({"1": image(), "2": shown(["1", -1])}).error is None


def test_a_link_of_wrong_length():
    found = problem(judge({"2": shown(["1"])}), "2")
    assert found["type"] == "bad_linked_input"
    assert found["extra_info"]["received_value"] == ["1"]


def test_a_link_of_wrong_type():
    prompt = {**loader("tiny.safetensors"), "3": shown(["1", 0])}
    verdict = judge(prompt)
    assert verdict.error is None
    assert verdict.outputs == ["2"]
    assert problem(verdict, "3") == {
        "type": "return_type_mismatch",
        "message": "Return type mismatch between linked nodes",
        "details": "images, received_type(MODEL) mismatch input_type(IMAGE)",
        "extra_info": {
            "input_name": "images",
            "input_config": ("IMAGE", {}),
            "received_type": "MODEL",
            "linked_node": ["1", 0],
        },
    }


def scale(source):
    return {"class_type": "ImageScale", "inputs": {"image": source, "method": "area", "factor": 1}}


@pytest.mark.parametrize(
    "prompt",
    [
        {"1": scale(["1", 0]), "3": shown(["1", 0])},
        {"1": scale(["2", 0]), "2": scale(["1", 0]), "3": shown(["1", 0])},
    ],
)
def test_a_cycle_is_refused_without_a_word(prompt):
    verdict = judge(prompt)
    assert verdict.error["type"] == "prompt_outputs_failed_validation"
    assert verdict.error["details"] == ""
    assert verdict.node_errors == {}


def test_one_good_output_is_enough():
    prompt = {"1": image(), "2": shown(["1", 0]), "3": image(width=0), "4": shown(["3", 0])}
    verdict = judge(prompt)
    assert (verdict.error, verdict.outputs) == (None, ["2"])
    assert verdict.node_errors["3"]["dependent_outputs"] == ["4"]


def test_a_bad_node_names_every_output_that_needs_it():
    verdict = judge({"1": image(width=0), "2": shown(["1", 0]), "3": shown(["1", 0])})
    assert verdict.node_errors["1"]["dependent_outputs"] == ["2", "3"]


def test_nodes_that_no_output_needs_are_not_looked_at():
    assert judge({"1": image(), "2": shown(["1", 0]), "9": image(width=0)}).error is None


@pytest.mark.parametrize(
    ("received", "wanted", "fit"),
    [
        ("IMAGE", "IMAGE", True),
        ("IMAGE", "*", True),
        ("*", "IMAGE", True),
        ("INT,FLOAT", "FLOAT, STRING", True),
        ("IMAGE", "MASK", False),
        ("STRING", ["a"], False),
    ],
)
def test_types_fit(received, wanted, fit):
    assert fits(received, wanted) is fit
