"""Which graphs are refused, with which words; and which oddities are let through."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.conformance.client import Client, Reply
from tests.conformance.graphs import (
    WIDTH_CONFIG,
    Graph,
    empty_image,
    load_image,
    node,
    prefix,
    preview,
    save,
)

pytestmark = pytest.mark.conformance

NO_OUTPUTS = {
    "type": "prompt_no_outputs",
    "message": "Prompt has no outputs",
    "details": "",
    "extra_info": {},
}


def without_tracebacks(reply: Reply) -> Any:
    """Return the answer less its tracebacks, which must be lists of text."""
    body = copy.deepcopy(reply.json)
    for entry in body["node_errors"].values():
        for error in entry["errors"]:
            if error["type"].startswith("exception_during"):
                traceback = error["extra_info"].pop("traceback")
                assert traceback
                assert all(isinstance(line, str) for line in traceback)
    return body


async def refused(client: Client, graph: Any) -> Any:
    reply = await client.post("/prompt", json={"prompt": graph})
    assert reply.status == 400, reply.text
    body = without_tracebacks(reply)
    assert set(body) == {"error", "node_errors"}
    assert await client.remaining() == 0
    return body


def failed(details: str = "") -> dict[str, Any]:
    """Return the top error of a graph none of whose outputs is valid."""
    return {
        "type": "prompt_outputs_failed_validation",
        "message": "Prompt outputs failed validation",
        "details": details,
        "extra_info": {},
    }


async def refused_input(client: Client, graph: Graph, culprit: str, output: str) -> dict[str, Any]:
    """Return the only error of the only culprit, which is not an output itself."""
    body = await refused(client, graph)
    assert body["error"] == failed()
    assert set(body["node_errors"]) == {culprit}
    entry = body["node_errors"][culprit]
    assert set(entry) == {"errors", "dependent_outputs", "class_type"}
    assert entry["class_type"] == graph[culprit]["class_type"]
    assert entry["dependent_outputs"] == [output]
    (error,) = entry["errors"]
    assert set(error) == {"type", "message", "details", "extra_info"}
    return error


async def refused_output(client: Client, graph: Graph, culprit: str) -> dict[str, Any]:
    """Return the only error of the only culprit, which is the output, so is told at the top."""
    body = await refused(client, graph)
    assert set(body["node_errors"]) == {culprit}
    entry = body["node_errors"][culprit]
    (error,) = entry["errors"]
    assert entry == {
        "errors": [error],
        "dependent_outputs": [culprit],
        "class_type": graph[culprit]["class_type"],
    }
    assert set(error) == {"type", "message", "details", "extra_info"}
    assert body["error"] == failed(f"{error['message']}: {error['details']}")
    return error


@pytest.mark.parametrize(
    "graph", [{}, [], {"1": empty_image()}], ids=["empty", "list", "no output node"]
)
async def test_a_graph_without_outputs_is_refused(client: Client, graph):
    assert await refused(client, graph) == {"error": NO_OUTPUTS, "node_errors": {}}


@pytest.mark.parametrize(
    "bad", [{"inputs": {}}, {}, "x", []], ids=["no class_type", "empty", "text", "list"]
)
async def test_a_node_without_class_type_is_refused(client: Client, bad):
    assert await refused(client, preview() | {"7": bad}) == {
        "error": {
            "type": "invalid_prompt",
            "message": "Cannot execute because a node is missing the class_type property.",
            "details": "Node ID '#7'",
            "extra_info": {},
        },
        "node_errors": {},
    }


async def test_an_unknown_class_is_refused_even_where_nothing_needs_it(client: Client):
    assert await refused(client, preview() | {"9": node("NoSuchNodeXYZ")}) == {
        "error": {
            "type": "invalid_prompt",
            "message": "Cannot execute because node NoSuchNodeXYZ does not exist.",
            "details": "Node ID '#9'",
            "extra_info": {},
        },
        "node_errors": {},
    }


async def test_a_missing_required_input_is_named(client: Client):
    graph = preview()
    del graph["1"]["inputs"]["color"]

    assert await refused_input(client, graph, "1", "2") == {
        "type": "required_input_missing",
        "message": "Required input is missing",
        "details": "color",
        "extra_info": {"input_name": "color"},
    }


async def test_an_output_nodes_missing_input_is_told_at_the_top_too(client: Client):
    assert await refused_output(client, {"2": node("PreviewImage")}, "2") == {
        "type": "required_input_missing",
        "message": "Required input is missing",
        "details": "images",
        "extra_info": {"input_name": "images"},
    }


@pytest.mark.parametrize("link", [["1"], [], ["1", 0, 0]])
async def test_a_link_not_of_two_parts_is_a_bad_link(client: Client, link):
    graph = preview() | {"2": node("ImageInvert", image=link)}
    graph["3"] = node("PreviewImage", images=["2", 0])

    error = await refused_input(client, graph, "2", "3")
    assert error == {
        "type": "bad_linked_input",
        "message": "Bad linked input, must be a length-2 list of [node_id, slot_index]",
        "details": "image",
        "extra_info": {
            "input_name": "image",
            "input_config": error["extra_info"]["input_config"],
            "received_value": link,
        },
    }
    assert error["extra_info"]["input_config"][0] == "IMAGE"


async def test_a_list_for_a_number_is_a_bad_link(client: Client):
    error = await refused_input(client, preview(width=[1, 2, 3]), "1", "2")

    assert error["type"] == "bad_linked_input"
    assert error["extra_info"] == {
        "input_name": "width",
        "input_config": WIDTH_CONFIG,
        "received_value": [1, 2, 3],
    }


@pytest.mark.parametrize(
    ("link", "details", "exception"),
    [
        (["99", 0], "'99'", "KeyError"),
        ([1, 0], "1", "KeyError"),
        (["1", 5], "tuple index out of range", "IndexError"),
        (["1", "0"], "tuple indices must be integers or slices, not str", "TypeError"),
    ],
    ids=["absent node", "id as a number", "slot out of range", "slot as text"],
)
async def test_an_output_nodes_dangling_link_is_an_exception(
    client: Client, link, details, exception
):
    graph = preview()
    graph["2"]["inputs"]["images"] = link

    assert await refused_output(client, graph, "2") == {
        "type": "exception_during_validation",
        "message": "Exception when validating node",
        "details": details,
        "extra_info": {"exception_type": exception},
    }


async def test_an_inner_nodes_dangling_link_is_an_inner_exception(client: Client):
    graph = {
        "1": node("ImageInvert", image=["99", 0]),
        "2": node("PreviewImage", images=["1", 0]),
    }

    error = await refused_input(client, graph, "1", "2")
    assert error == {
        "type": "exception_during_inner_validation",
        "message": "Exception when validating inner node",
        "details": "'99'",
        "extra_info": {
            "input_name": "images",
            "input_config": ["IMAGE", {}],
            "exception_message": "'99'",
            "exception_type": "KeyError",
            "linked_node": ["1", 0],
        },
    }


async def test_a_node_without_inputs_is_an_inner_exception(client: Client):
    graph = preview() | {"1": {"class_type": "EmptyImage"}}

    error = await refused_input(client, graph, "1", "2")
    assert error["type"] == "exception_during_inner_validation"
    assert error["details"] == "'inputs'"
    assert error["extra_info"]["exception_type"] == "KeyError"


async def test_an_output_node_without_inputs_is_an_exception(client: Client):
    error = await refused_output(client, {"2": {"class_type": "PreviewImage"}}, "2")

    assert error["type"] == "exception_during_validation"
    assert error["details"] == "'inputs'"


async def test_a_link_of_the_wrong_type_is_told_with_both_types(client: Client):
    graph = {
        "1": node("SolidMask", value=0.5, width=64, height=64),
        "2": node("PreviewImage", images=["1", 0]),
    }

    assert await refused_output(client, graph, "2") == {
        "type": "return_type_mismatch",
        "message": "Return type mismatch between linked nodes",
        "details": "images, received_type(MASK) mismatch input_type(IMAGE)",
        "extra_info": {
            "input_name": "images",
            "input_config": ["IMAGE", {}],
            "received_type": "MASK",
            "linked_node": ["1", 0],
        },
    }


async def test_a_picture_linked_to_a_number_is_a_wrong_type(client: Client):
    graph = {"0": empty_image()} | preview(width=["0", 0])

    error = await refused_input(client, graph, "1", "2")
    assert error["type"] == "return_type_mismatch"
    assert error["details"] == "width, received_type(IMAGE) mismatch input_type(INT)"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("abc", "invalid literal for int() with base 10: 'abc'"),
        ("64.9", "invalid literal for int() with base 10: '64.9'"),
        (
            None,
            "int() argument must be a string, a bytes-like object or a real number, not 'NoneType'",
        ),
        (
            {"a": 1},
            "int() argument must be a string, a bytes-like object or a real number, not 'dict'",
        ),
    ],
)
async def test_a_value_that_is_no_number_is_refused_with_pythons_words(
    client: Client, value, words
):
    graph = preview()
    graph["1"]["inputs"]["width"] = value

    assert await refused_input(client, graph, "1", "2") == {
        "type": "invalid_input_type",
        "message": "Failed to convert an input value to a INT value",
        "details": f"width, {value}, {words}",
        "extra_info": {
            "input_name": "width",
            "input_config": WIDTH_CONFIG,
            "received_value": value,
            "exception_message": words,
        },
    }


async def test_text_that_is_no_float_is_refused(client: Client):
    graph = {
        "1": node("SolidMask", value="much", width=64, height=64),
        "2": node("MaskToImage", mask=["1", 0]),
        "3": node("PreviewImage", images=["2", 0]),
    }

    error = await refused_input(client, graph, "1", "3")
    assert error["message"] == "Failed to convert an input value to a FLOAT value"
    assert error["details"] == "value, much, could not convert string to float: 'much'"


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (0, "value_smaller_than_min", "Value 0 smaller than min of 1"),
        (-5, "value_smaller_than_min", "Value -5 smaller than min of 1"),
        ("0", "value_smaller_than_min", "Value 0 smaller than min of 1"),
        (1000000, "value_bigger_than_max", "Value 1000000 bigger than max of 16384"),
    ],
)
async def test_a_number_out_of_bounds_is_refused(client: Client, value, kind, message):
    assert await refused_input(client, preview(width=value), "1", "2") == {
        "type": kind,
        "message": message,
        "details": "width",
        "extra_info": {
            "input_name": "width",
            "input_config": WIDTH_CONFIG,
            "received_value": int(value),
        },
    }


async def test_a_value_not_in_a_short_list_is_refused_with_the_list(client: Client):
    methods = ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]
    scale = node(
        "ImageScale",
        image=["1", 0],
        upscale_method="nope",
        width=64,
        height=64,
        crop="disabled",
    )
    graph = {"1": empty_image(), "2": scale, "3": node("PreviewImage", images=["2", 0])}

    error = await refused_input(client, graph, "2", "3")
    assert error == {
        "type": "value_not_in_list",
        "message": "Value not in list",
        "details": f"upscale_method: 'nope' not in {methods}",
        "extra_info": {
            "input_name": "upscale_method",
            "input_config": error["extra_info"]["input_config"],
            "received_value": "nope",
        },
    }
    assert error["extra_info"]["input_config"][0] == methods


async def test_a_value_not_in_a_long_list_is_refused_without_the_list(client: Client):
    info = (await client.get("/object_info/KSampler")).json
    samplers = info["KSampler"]["input"]["required"]["sampler_name"][0]
    if len(samplers) <= 20:
        pytest.skip("the server's list of samplers is short")
    graph = {
        "1": node("KSampler", sampler_name="nope"),
        "2": node("VAEDecode", samples=["1", 0]),
        "3": node("PreviewImage", images=["2", 0]),
    }

    body = await refused(client, graph)
    (error,) = (
        error
        for error in body["node_errors"]["1"]["errors"]
        if error["type"] == "value_not_in_list"
    )
    assert error["details"] == f"sampler_name: 'nope' not in (list of length {len(samplers)})"
    assert error["extra_info"] == {
        "input_name": "sampler_name",
        "input_config": None,
        "received_value": "nope",
    }


async def test_a_missing_checkpoint_is_refused_with_the_ones_there_are(
    client: Client, checkpoints: list[str]
):
    graph = {
        "1": node("CheckpointLoaderSimple", ckpt_name="hf_conf_none.safetensors"),
        "2": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "3": node("VAEDecode", samples=["2", 0], vae=["1", 2]),
        "4": node("PreviewImage", images=["3", 0]),
    }

    error = await refused_input(client, graph, "1", "4")
    assert error["type"] == "value_not_in_list"
    assert error["details"] == f"ckpt_name: 'hf_conf_none.safetensors' not in {checkpoints}"
    assert error["extra_info"]["received_value"] == "hf_conf_none.safetensors"
    assert error["extra_info"]["input_config"][0] == checkpoints


async def test_a_missing_picture_fails_load_images_own_validation(client: Client):
    name = f"{prefix()}.png"

    assert await refused_input(client, load_image(name), "1", "2") == {
        "type": "custom_validation_failed",
        "message": "Custom validation failed for node",
        "details": f"image - Invalid image file: {name}",
        "extra_info": {"input_name": "image"},
    }


@pytest.mark.parametrize(
    ("inputs", "details"),
    [
        ({}, "LoadImage.VALIDATE_INPUTS() missing 1 required positional argument: 'image'"),
        ({"image": 5}, "'int' object has no attribute 'endswith'"),
        ({"image": None}, "'NoneType' object has no attribute 'endswith'"),
    ],
    ids=repr,
)
async def test_load_images_own_validation_may_raise(client: Client, inputs, details):
    graph = {"1": node("LoadImage", **inputs), "2": node("PreviewImage", images=["1", 0])}

    error = await refused_input(client, graph, "1", "2")
    assert error["type"] == "exception_during_inner_validation"
    assert error["details"] == details


async def test_all_errors_of_a_node_are_told(client: Client):
    graph = preview(width=0, height="abc")
    del graph["1"]["inputs"]["color"]

    body = await refused(client, graph)
    # The order of a node's errors is that of a set of input names, so it is left open.
    found = {(error["type"], error["details"]) for error in body["node_errors"]["1"]["errors"]}
    assert found == {
        ("value_smaller_than_min", "width"),
        ("invalid_input_type", "height, abc, invalid literal for int() with base 10: 'abc'"),
        ("required_input_missing", "color"),
    }


async def test_every_output_behind_a_bad_node_is_named(client: Client):
    graph = preview(width=0) | {"3": node("PreviewImage", images=["1", 0])}

    entry = (await refused(client, graph))["node_errors"]["1"]
    # In the order of a set of outputs, so it is left open.
    assert sorted(entry["dependent_outputs"]) == ["2", "3"]


async def test_the_top_details_have_a_line_for_each_bad_output(client: Client):
    graph = {"1": node("PreviewImage"), "2": node("PreviewImage", images=["9", 0])}

    details = (await refused(client, graph))["error"]["details"]
    assert set(details.split("\n")) == {
        "Required input is missing: images",
        "Exception when validating node: '9'",
    }


async def test_a_cycle_is_refused_without_a_word_about_it(client: Client):
    graph = {
        "1": node("ImageInvert", image=["2", 0]),
        "2": node("ImageInvert", image=["1", 0]),
        "3": node("PreviewImage", images=["2", 0]),
    }

    assert await refused(client, graph) == {"error": failed(), "node_errors": {}}


async def test_a_node_linked_to_itself_is_a_cycle(client: Client):
    graph = {
        "1": node("ImageInvert", image=["1", 0]),
        "2": node("PreviewImage", images=["1", 0]),
    }

    assert await refused(client, graph) == {"error": failed(), "node_errors": {}}


async def test_a_good_output_runs_beside_a_bad_one_and_the_errors_are_told(client: Client):
    graph = preview() | {"3": empty_image(width=0), "4": node("PreviewImage", images=["3", 0])}
    socket = await client.connect()

    reply = await client.post("/prompt", json={"prompt": graph, "client_id": socket.client_id})
    assert reply.status == 200
    body = reply.json
    assert set(body) == {"prompt_id", "number", "node_errors"}
    assert set(body["node_errors"]) == {"3"}
    entry = body["node_errors"]["3"]
    assert (entry["dependent_outputs"], entry["class_type"]) == (["4"], "EmptyImage")
    assert [error["type"] for error in entry["errors"]] == ["value_smaller_than_min"]

    await socket.wait_end(body["prompt_id"])
    assert [data["node"] for data in socket.of("executing")] == ["1", "2", None]
    history = await client.history(body["prompt_id"])
    assert history["status"]["status_str"] == "success"
    assert set(history["outputs"]) == {"2"}
    assert history["prompt"][4] == ["2"]


async def test_a_bad_node_that_no_output_needs_is_ignored(client: Client):
    run = await client.run(preview() | {"7": empty_image(width=0)})

    assert run.executing == ["1", "2", None]


@pytest.mark.parametrize(
    ("sent", "used"),
    [("64", 64), (64.9, 64), (" 64 ", 64), (True, 1), ({"__value__": 64}, 64)],
    ids=repr,
)
async def test_a_value_is_converted_where_python_can(client: Client, sent, used):
    run = await client.run(preview(width=sent))

    graph = (await client.history(run.prompt_id))["prompt"][2]
    assert graph["1"]["inputs"]["width"] == used
    assert type(graph["1"]["inputs"]["width"]) is int
    assert "execution_success" in run.kinds


async def test_a_number_for_text_becomes_text(client: Client):
    graph = save()
    name = int(prefix().removeprefix("hf_conf_"), 16)
    graph["3"]["inputs"]["filename_prefix"] = name

    run = await client.run(graph)
    assert run.outputs()["3"]["images"][0]["filename"].startswith(str(name))


async def test_a_negative_slot_counts_from_the_end(client: Client):
    graph = preview()
    graph["2"]["inputs"]["images"] = ["1", -1]

    assert (await client.submit(graph))["node_errors"] == {}


async def test_unknown_inputs_are_ignored(client: Client):
    run = await client.run(preview(whatever="x"))

    assert "execution_success" in run.kinds


async def test_extra_keys_of_a_node_are_ignored_and_kept(client: Client):
    graph = preview()
    graph["1"]["_meta"] = {"title": "Mine"}

    run = await client.run(graph)
    kept = (await client.history(run.prompt_id))["prompt"][2]
    assert kept["1"]["_meta"] == {"title": "Mine"}
