"""What ComfyUI answers over HTTP, read from bodies as a real server sends them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comfyui.failures import MESSAGE_LIMIT, Failure, FailureKind
from holdfast.comfyui.replies import (
    Ending,
    FileRef,
    HistoryEntry,
    QueueItem,
    parse_history,
    parse_queue,
    rejection,
    token_of,
)
from holdfast.errors import ErrorCategory

relaxed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])

SERVER = "http://gpu1:8188"
RUN = "fd3a8c5b-6c1e-4f0e-9a0c-1d6f0a1f7f11"
WIDTH = ["INT", {"default": 512, "min": 1, "max": 16384, "step": 1}]

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def keyed(*names: str) -> st.SearchStrategy[Any]:
    """Anything at all, but often an object with these keys."""
    return any_json | st.dictionaries(st.sampled_from(names), any_json, max_size=len(names))


def headline(kind: str, message: str, details: str = "") -> dict[str, Any]:
    """The body of a 400 that blames no node."""
    error = {"type": kind, "message": message, "details": details, "extra_info": {}}
    return {"error": error, "node_errors": {}}


def node_error(
    kind: str,
    message: str,
    details: str = "",
    *,
    class_type: str = "EmptyImage",
    node_id: str = "1",
    **extra_info: Any,
) -> dict[str, Any]:
    """The body of a 400 that blames one node for one thing."""
    error = {"type": kind, "message": message, "details": details, "extra_info": extra_info}
    body = headline("prompt_outputs_failed_validation", "Prompt outputs failed validation")
    body["node_errors"] = {
        node_id: {"errors": [error], "dependent_outputs": ["2"], "class_type": class_type}
    }
    return body


def not_in_list(value: str, listed: list[Any], name: str = "ckpt_name", **fields: Any) -> Failure:
    """A value that the server does not offer."""
    body = node_error(
        "value_not_in_list",
        "Value not in list",
        f"{name}: '{value}' not in {listed}",
        **({"class_type": "CheckpointLoaderSimple"} | fields),
        input_name=name,
        input_config=[listed, {"tooltip": "The name of the checkpoint (model) to load."}],
        received_value=value,
    )
    return rejection(body, SERVER)


# Rejections -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            node_error(
                "required_input_missing", "Required input is missing", "color", input_name="color"
            ),
            "node 1 (EmptyImage): the input 'color' is missing",
        ),
        (
            node_error(
                "value_smaller_than_min",
                "Value 0 smaller than min of 1",
                "width",
                input_name="width",
                input_config=WIDTH,
                received_value=0,
            ),
            "node 1 (EmptyImage): width is 0; the least allowed is 1",
        ),
        (
            node_error(
                "value_bigger_than_max",
                "Value 1000000 bigger than max of 16384",
                "width",
                input_name="width",
                input_config=WIDTH,
                received_value=1000000,
            ),
            "node 1 (EmptyImage): width is 1000000; the most allowed is 16384",
        ),
        (
            node_error(
                "bad_linked_input",
                "Bad linked input, must be a length-2 list of [node_id, slot_index]",
                "images",
                node_id="2",
                class_type="PreviewImage",
                input_name="images",
                input_config=["IMAGE", {}],
                received_value=["1"],
            ),
            "node 2 (PreviewImage): images is ['1']; a link must be [node id, output number]",
        ),
        (
            node_error(
                "return_type_mismatch",
                "Return type mismatch between linked nodes",
                "images, received_type(LATENT) mismatch input_type(IMAGE)",
                node_id="2",
                class_type="PreviewImage",
                input_name="images",
                input_config=["IMAGE", {}],
                received_type="LATENT",
                linked_node=["1", 0],
            ),
            (
                "node 2 (PreviewImage): images gets the wrong kind of link "
                "(images, received_type(LATENT) mismatch input_type(IMAGE))"
            ),
        ),
        (
            node_error(
                "invalid_input_type",
                "Failed to convert an input value to a INT value",
                "width, abc, invalid literal for int() with base 10: 'abc'",
                input_name="width",
                input_config=WIDTH,
                received_value="abc",
                exception_message="invalid literal for int() with base 10: 'abc'",
            ),
            (
                "node 1 (EmptyImage): Failed to convert an input value to a INT value: width, abc, "
                "invalid literal for int() with base 10: 'abc'"
            ),
        ),
        (
            node_error(
                "exception_during_validation",
                "Exception when validating node",
                "'99'",
                node_id="2",
                class_type="PreviewImage",
                exception_type="KeyError",
                traceback=["  File ...\n"],
            ),
            "node 2 (PreviewImage): Exception when validating node: '99'",
        ),
        (
            node_error(
                "exception_during_inner_validation",
                "Exception when validating inner node",
                "'inputs'",
                input_name="images",
                input_config=["IMAGE", {}],
                exception_message="'inputs'",
                exception_type="KeyError",
                traceback=["  File ...\n"],
                linked_node=["1", 0],
            ),
            "node 1 (EmptyImage): Exception when validating inner node: 'inputs'",
        ),
    ],
)
def test_what_is_wrong_with_a_node_is_said_in_words_and_no_other_server_is_tried(body, words):
    failure = rejection(body, SERVER)
    assert failure.kind is FailureKind.REJECTED
    assert failure.message == words
    assert failure.category is ErrorCategory.VALIDATION
    assert not failure.elsewhere
    assert failure.server == SERVER
    (problem,) = failure.problems
    assert (problem.node_id, problem.node_type) == (failure.node_id, failure.node_type)
    assert problem.words == words


def test_a_missing_node_is_told_with_the_pack_it_is_from():
    error = {
        "type": "invalid_prompt",
        "message": "Cannot execute because node VHS_VideoCombine does not exist.",
        "details": "Node ID '#4'",
    }
    assert "VideoHelperSuite" in rejection({"error": error, "node_errors": {}}, "a").message
    error["message"] = "Cannot execute because node Nobodys does not exist."
    assert "part of" not in rejection({"error": error, "node_errors": {}}, "a").message


def test_a_value_the_error_leaves_out_is_looked_up_in_our_own_graph():
    body = node_error("value_smaller_than_min", "?", input_name="width", input_config=WIDTH)
    graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": -5}}}
    assert "width is -5" in rejection(body, SERVER, graph).message


def test_every_node_and_every_error_is_named():
    body = node_error("required_input_missing", "?", input_name="color")
    listed = body["node_errors"]
    listed["1"]["errors"].append(
        {"type": "required_input_missing", "extra_info": {"input_name": "batch_size"}}
    )
    listed["7"] = {
        "errors": [{"type": "required_input_missing", "extra_info": {"input_name": "height"}}],
        "class_type": "ImageScale",
    }
    failure = rejection(body, SERVER)
    assert len(failure.problems) == 3
    assert "'color'" in failure.message
    assert "'batch_size'" in failure.message
    assert "node 7 (ImageScale): the input 'height' is missing" in failure.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (headline("prompt_no_outputs", "Prompt has no outputs"), "no output node"),
        (
            headline("no_prompt", "No prompt provided", "No prompt provided"),
            "No prompt provided",
        ),
        (
            headline(
                "invalid_prompt",
                "Cannot execute because a node is missing the class_type property.",
                "Node ID '#9'",
            ),
            "missing the class_type property. (Node ID '#9')",
        ),
    ],
)
def test_a_wrong_workflow_is_wrong_everywhere(body, words):
    failure = rejection(body, SERVER)
    assert words in failure.message
    assert failure.category is ErrorCategory.VALIDATION
    assert not failure.elsewhere
    assert failure.problems == ()


def test_a_cycle_is_called_by_its_name_though_the_server_gives_no_reason():
    body = headline("prompt_outputs_failed_validation", "Prompt outputs failed validation")
    failure = rejection(body, SERVER)
    assert "cycle" in failure.message
    assert not failure.elsewhere


@pytest.mark.parametrize(
    "body",
    [
        headline(
            "invalid_prompt",
            "Cannot execute because node FancyNode does not exist.",
            "Node ID '#9'",
        ),
        headline("missing_node_type", "Node 'FancyNode' not found", "Node ID '#9'"),
    ],
)
def test_a_node_this_server_lacks_may_exist_elsewhere(body):
    failure = rejection(body, SERVER)
    assert failure.elsewhere
    assert "FancyNode" in failure.message
    assert "#9" in failure.message


def test_a_model_this_server_lacks_may_exist_elsewhere_and_near_names_are_offered():
    listed = ["sd_xl_base_1.0.safetensors", "sd15_pruned.safetensors", "flux1-dev.safetensors"]
    failure = not_in_list("sd15.safetensors", listed)
    assert failure.elsewhere
    assert failure.category is ErrorCategory.MODEL
    assert failure.message.startswith(
        "node 1 (CheckpointLoaderSimple): ckpt_name 'sd15.safetensors' is not a model file this "
        "server has; it has sd15_pruned.safetensors"
    )


def test_a_server_without_any_models_says_so():
    failure = not_in_list("sd15.safetensors", [])
    assert failure.message.endswith("it has none")
    assert failure.elsewhere
    assert failure.category is ErrorCategory.MODEL


def test_of_very_many_models_only_a_few_are_named():
    failure = not_in_list("wholly_other.ckpt", [f"{n:05}.gguf" for n in range(5_000)])
    assert "and 4995 more" in failure.message
    assert len(failure.message) < 400


def test_options_listed_the_newer_way_are_offered_as_well():
    body = node_error(
        "value_not_in_list",
        "Value not in list",
        class_type="KSampler",
        input_name="sampler_name",
        input_config=["COMBO", {"options": ["euler", "heun"]}],
        received_value="eulr",
    )
    failure = rejection(body, SERVER)
    assert "sampler_name 'eulr' is not a value this server has; it has euler" in failure.message
    assert failure.category is ErrorCategory.VALIDATION


def missing_input(file: str) -> Failure:
    """LoadImage without its file."""
    body = node_error(
        "custom_validation_failed",
        "Custom validation failed for node",
        f"image - Invalid image file: {file}",
        class_type="LoadImage",
        input_name="image",
    )
    return rejection(body, SERVER)


def test_an_input_file_this_server_lacks_may_exist_elsewhere():
    failure = missing_input("does_not_exist.png")
    assert failure.elsewhere
    assert failure.category is ErrorCategory.VALIDATION
    assert "Invalid image file: does_not_exist.png" in failure.message


def test_a_missing_picture_of_a_model_is_no_missing_model():
    assert missing_input("photo_model_3.png").category is ErrorCategory.VALIDATION


def test_a_missing_model_beside_a_wrong_value_is_not_sent_elsewhere():
    body = node_error("value_smaller_than_min", "?", input_name="width", input_config=WIDTH)
    other = node_error("value_not_in_list", "?", input_name="ckpt_name", node_id="4")
    body["node_errors"] |= other["node_errors"]
    assert not rejection(body, SERVER).elsewhere


def test_a_partly_accepted_workflow_is_rejected_with_its_reasons():
    body = node_error("value_smaller_than_min", "?", input_name="width", received_value=0)
    del body["error"]
    failure = rejection(body | {"prompt_id": RUN, "number": 36}, SERVER)
    assert "width is 0" in failure.message


@pytest.mark.parametrize("body", [None, [], "no", 5, {}, {"error": None}, {"error": "text"}])
def test_a_rejection_without_a_reason_still_has_words(body):
    failure = rejection(body, SERVER)
    assert failure.kind is FailureKind.REJECTED
    assert failure.message
    assert not failure.elsewhere


def test_enormous_answers_make_short_words():
    huge = "x" * 300_000
    body = node_error(
        "value_bigger_than_max",
        huge,
        huge,
        input_name=huge,
        input_config=["INT", {"max": huge}],
        received_value=huge,
        class_type=huge,
    )
    failure = rejection(body, SERVER)
    assert len(failure.message) < MESSAGE_LIMIT + 100
    assert all(len(problem.words) < MESSAGE_LIMIT + 100 for problem in failure.problems)


@relaxed
@given(keyed("error", "node_errors"), any_json)
def test_any_answer_is_a_rejection(body, graph):
    assert rejection(body, SERVER, graph if isinstance(graph, dict) else None).message


@relaxed
@given(
    st.dictionaries(
        st.text(max_size=3),
        any_json
        | st.fixed_dictionaries(
            {
                "class_type": any_json,
                "errors": any_json
                | st.lists(
                    st.fixed_dictionaries(
                        {
                            "type": st.sampled_from(
                                [
                                    "required_input_missing",
                                    "bad_linked_input",
                                    "return_type_mismatch",
                                    "value_smaller_than_min",
                                    "value_bigger_than_max",
                                    "value_not_in_list",
                                    "custom_validation_failed",
                                ]
                            )
                            | any_json,
                            "extra_info": keyed("input_name", "input_config", "received_value"),
                        }
                    ),
                    max_size=3,
                ),
            }
        ),
        max_size=3,
    )
)
def test_any_node_errors_are_a_rejection(node_errors):
    assert rejection({"node_errors": node_errors}, SERVER).message


# The queue ------------------------------------------------------------------------------


def item(number: Any, prompt_id: Any, token: str | None = None) -> list[Any]:
    """A job as `/queue` lists it."""
    extra = {"client_id": "c"} | ({"holdfast": {"token": token}} if token else {})
    return [number, prompt_id, {"1": {}}, extra, ["1"]]


def test_the_queue_is_in_the_order_in_which_it_will_run():
    body = {
        "queue_running": [item(4, "now")],
        "queue_pending": [item(9, "late"), item(6, "b"), item(-3, "first"), item(6, "a", "t")],
    }
    queue = parse_queue(body)
    assert queue is not None
    assert queue.running == (QueueItem(4, "now", None),)
    assert [each.prompt_id for each in queue.pending] == ["first", "a", "b", "late"]
    assert queue.pending[1].token == "t"


def test_an_empty_queue_is_a_queue():
    queue = parse_queue({"queue_running": [], "queue_pending": []})
    assert queue is not None
    assert queue.running == queue.pending == ()


@pytest.mark.parametrize("body", [None, [], "x", {}, {"queue_running": {}}, {"queue_running": 1}])
def test_what_is_no_queue_is_none(body):
    assert parse_queue(body) is None


@pytest.mark.parametrize("strange", [None, 5, [], [1], [1, None], {"a": 1}, "x", [1, ["id"]]])
def test_strange_items_are_left_out(strange):
    queue = parse_queue({"queue_running": [strange], "queue_pending": [strange, item(1, "a")]})
    assert queue is not None
    assert queue.running == ()
    assert [each.prompt_id for each in queue.pending] == ["a"]


def test_short_items_of_older_servers_have_no_token():
    queue = parse_queue({"queue_running": [[1, "a"]], "queue_pending": None})
    assert queue is not None
    assert queue.running == (QueueItem(1, "a", None),)


@relaxed
@given(keyed("queue_running", "queue_pending"))
def test_any_answer_is_a_queue_or_none(body):
    parse_queue(body)


@relaxed
@given(st.lists(st.lists(st.floats() | st.integers() | st.text(max_size=2) | any_json)))
def test_any_items_can_be_put_in_order(items):
    assert parse_queue({"queue_running": [], "queue_pending": items}) is not None


@pytest.mark.parametrize(
    ("extra", "token"),
    [
        ({"holdfast": {"token": "abc"}}, "abc"),
        ({"client_id": "c", "holdfast": {"token": "abc", "job": "j"}}, "abc"),
        ({"holdfast": {"token": 5}}, None),
        ({"holdfast": "abc"}, None),
        ({"holdfast": None}, None),
        ({}, None),
        ([], None),
        (None, None),
        ("holdfast", None),
    ],
)
def test_only_our_own_mark_is_a_token(extra, token):
    assert token_of(extra) == token


@relaxed
@given(keyed("holdfast"))
def test_anything_may_stand_where_the_token_should(extra):
    token = token_of(extra)
    assert token is None or isinstance(token, str)


# The history ----------------------------------------------------------------------------


def saved(name: str = "pic_00001_.png") -> dict[str, Any]:
    """What SaveImage shows."""
    return {"images": [{"filename": name, "subfolder": "", "type": "output"}]}


def history(
    *messages: tuple[str, dict[str, Any]],
    status_str: Any = "success",
    outputs: Any = None,
    mark: str | None = "t",
) -> HistoryEntry:
    """A run as `/history/{id}` tells it."""
    completed = status_str == "success"
    said = [["execution_start", {"prompt_id": RUN}], *([name, data] for name, data in messages)]
    body = {
        RUN: {
            "prompt": item(3, RUN, mark),
            "outputs": {"3": saved()} if outputs is None else outputs,
            "status": {"status_str": status_str, "completed": completed, "messages": said},
            "meta": {},
        }
    }
    entry = parse_history(json.loads(json.dumps(body)), RUN)
    assert entry is not None
    return entry


FAULT = {
    "prompt_id": RUN,
    "node_id": "5",
    "node_type": "KSampler",
    "exception_type": "RuntimeError",
    "exception_message": "boom\n",
    "traceback": [],
}
DONE = ("execution_success", {"prompt_id": RUN})
STOPPED = ("execution_interrupted", {"prompt_id": RUN, "node_id": "5", "node_type": "KSampler"})
BROKEN = ("execution_error", FAULT)
BLOCKED = ("execution_error", FAULT | {"exception_type": "ExecutionBlocked"})


def test_a_run_that_went_through_lists_its_files():
    entry = history(("execution_cached", {"nodes": ["1", 2], "prompt_id": RUN}), DONE)
    assert entry.prompt_id == RUN
    assert entry.ending is Ending.SUCCESS
    assert entry.token == "t"
    assert entry.files == (FileRef("3", "pic_00001_.png", "", "output", "images"),)
    assert entry.nodes_with_output == {"3"}
    assert entry.cached == {"1", "2"}
    assert entry.fault is None


def test_a_run_that_failed_says_where():
    entry = history(BROKEN, status_str="error")
    assert entry.ending is Ending.ERROR
    assert entry.fault is not None
    assert (entry.fault.node_id, entry.fault.message) == ("5", "boom")


def test_an_interrupted_run_is_no_error_though_the_server_calls_it_one():
    entry = history(STOPPED, status_str="error")
    assert entry.ending is Ending.INTERRUPTED
    assert entry.fault is not None
    assert entry.fault.node_id == "5"


def test_a_blocked_node_does_not_make_a_run_fail():
    assert history(BLOCKED, DONE, outputs={}).ending is Ending.SUCCESS
    assert history(BLOCKED).ending is Ending.SUCCESS


@pytest.mark.parametrize(
    ("last", "status_str", "ending"),
    [
        (BROKEN, "success", Ending.ERROR),
        (STOPPED, "success", Ending.INTERRUPTED),
        (DONE, "error", Ending.SUCCESS),
        (BROKEN, None, Ending.ERROR),
    ],
)
def test_the_messages_are_believed_over_the_status(last, status_str, ending):
    assert history(last, status_str=status_str).ending is ending


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        ({"status_str": "error"}, Ending.ERROR),
        ({"status_str": "success"}, Ending.SUCCESS),
        ({"status_str": "error", "messages": "lost"}, Ending.ERROR),
        ({"status_str": "error", "messages": [None, [], ["a"], ["b", 3]]}, Ending.ERROR),
        (None, Ending.SUCCESS),
    ],
)
def test_without_messages_the_status_must_do(status, ending):
    entry = parse_history({RUN: {"prompt": [], "outputs": {}, "status": status}}, RUN)
    assert entry is not None
    assert entry.ending is ending


@pytest.mark.parametrize("body", [{}, None, [], "x", {"another": {}}, {RUN: None}, {RUN: []}])
def test_a_run_that_waits_runs_or_is_unknown_has_no_entry(body):
    assert parse_history(body, RUN) is None


@pytest.mark.parametrize("prompt", [None, [], [1, RUN, {}], {}, [1, RUN, {}, None, []]])
def test_a_run_without_our_mark_has_no_token(prompt):
    entry = parse_history({RUN: {"prompt": prompt}}, RUN)
    assert entry is not None
    assert entry.token is None


def test_files_of_every_kind_of_list_are_found():
    entry = history(
        DONE,
        outputs={
            "3": saved("a.png"),
            "9": {
                "gifs": [{"filename": "b.mp4", "subfolder": "v", "type": "temp", "fps": 8}],
                "audio": [{"filename": "c.flac"}],
                "animated": [True],
                "text": ["hello"],
            },
        },
    )
    assert entry.files == (
        FileRef("3", "a.png"),
        FileRef("9", "b.mp4", "v", "temp", "gifs"),
        FileRef("9", "c.flac", "", "output", "audio"),
    )


@pytest.mark.parametrize(
    "shown",
    [
        None,
        [],
        "x",
        {"images": None},
        {"images": {"filename": "a.png"}},
        {"images": [None, 5, "a.png", []]},
        {"images": [{"filename": None}, {"filename": 5}, {}]},
    ],
)
def test_files_of_odd_shapes_are_left_out(shown):
    assert history(DONE, outputs={"3": shown}).files == ()


def test_files_with_odd_folders_and_types_get_the_usual_ones():
    odd = {"filename": "a.png", "subfolder": None, "type": 7}
    assert history(DONE, outputs={"3": {"images": [odd]}}).files == (FileRef("3", "a.png"),)


def test_nodes_that_show_nothing_have_no_output():
    entry = history(DONE, outputs={"3": {}, "4": None, "5": saved()})
    assert entry.nodes_with_output == {"5"}


def test_endless_file_lists_are_cut():
    files = [{"filename": f"{n}.png"} for n in range(20_000)]
    assert len(history(DONE, outputs={"3": {"images": files}}).files) == 10_000


@relaxed
@given(keyed("prompt", "outputs", "status"), any_json)
def test_any_answer_is_an_entry_or_none(entry, body):
    parse_history({RUN: entry}, RUN)
    parse_history(body, RUN)


@relaxed
@given(
    st.lists(
        any_json
        | st.tuples(
            st.sampled_from(["execution_error", "execution_cached", "execution_interrupted"]),
            keyed("node_id", "nodes", "exception_type", "traceback"),
        ).map(list)
    ),
    st.dictionaries(st.text(max_size=3), any_json | st.dictionaries(st.text(max_size=3), any_json)),
)
def test_any_messages_and_outputs_make_an_entry(messages, outputs):
    body = {RUN: {"status": {"messages": messages}, "outputs": outputs}}
    assert parse_history(body, RUN) is not None
