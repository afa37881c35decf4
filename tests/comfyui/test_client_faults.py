"""Every fault a server can have, over real sockets: the picture comes all the same, or the error
says why not, and the account of attempts is true."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from PIL import Image

from holdfast.comfyui import (
    ComfyUI,
    FailureKind,
    NodeFailedError,
    OutOfMemoryError,
    OutputMissingError,
    Patience,
    RunInterruptedError,
    RunResult,
    ServerUnreachableError,
    Workflow,
    WorkflowRejectedError,
    events,
)
from holdfast.comfyui.standin import Fault, StandIn, StandInConfig
from tests.comfyui.graphs import painting, picture

QUICK = Patience(idle=1.2, ask=0.4, deaf=0.4, unanswered=1.5, absent=0.3, settle=2.0)


@contextlib.contextmanager
def servers(*fault_lists: tuple[Fault, ...], **settings) -> Iterator[list[StandIn]]:
    """One stand-in for each list of faults."""
    settings.setdefault("step_seconds", 0.01)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(StandIn(StandInConfig(faults=faults, **settings)))
            for faults in fault_lists
        ]


async def run_on(
    standins: list[StandIn], workflow: Workflow, seen: list[object] | None = None, **settings
) -> RunResult:
    """Run one workflow on these servers."""
    settings = {"patience": QUICK, "call_seconds": 1.0, "reach_seconds": 8.0} | settings
    deadline = settings.pop("deadline", 25.0)
    listen = (lambda _event: None) if seen is None else seen.append
    async with ComfyUI(*(each.url for each in standins), on_event=listen, **settings) as comfy:
        return await comfy.run(workflow, deadline=deadline)


def kinds(result: RunResult) -> list[FailureKind]:
    """What went wrong on the way, in order."""
    return [each.failure.kind for each in result.attempts if each.failure is not None]


async def test_a_healthy_server_delivers_at_the_first_attempt():
    with servers(()) as standins:
        result = await run_on(standins, painting())
    assert kinds(result) == []
    (image,) = result.images
    assert (image.width, image.height) == (256, 256)
    assert image.bytes.startswith(b"\x89PNG")
    assert result.degradations == ()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("raise", node="KSampler"), [FailureKind.NODE_ERROR]),
        (Fault("empty_error", node="KSampler"), [FailureKind.NODE_ERROR]),
        (Fault("huge_error", node="KSampler"), [FailureKind.NODE_ERROR]),
        (Fault("out_of_memory", node="KSampler"), [FailureKind.OUT_OF_MEMORY]),
        (Fault("out_of_memory", node="VAEDecode", times=2), [FailureKind.OUT_OF_MEMORY] * 2),
        (Fault("interrupted", node="KSampler", step=2), [FailureKind.INTERRUPTED]),
        (Fault("block", node="VAEDecode", message="not today"), [FailureKind.NOTHING_MADE]),
        (Fault("missing_file"), [FailureKind.OUTPUT_MISSING]),
        (Fault("truncated_file"), [FailureKind.OUTPUT_DAMAGED]),
        (Fault("disk_full"), [FailureKind.NODE_ERROR]),
        (Fault("die", node="KSampler", step=2, restart=0.6), [FailureKind.SERVER_DIED]),
        (Fault("http_error", path="/prompt", status=503, retry_after=0.2), None),
        (Fault("http_error", path="/prompt", status=500), None),
        (Fault("lost_response", post=1), []),
        (Fault("freeze", node="KSampler", step=2, seconds=0.8), []),
        (Fault("freeze", post=1, seconds=0.8), []),
        (Fault("zombie_socket", node="KSampler", step=1), []),
        (Fault("stuck_reader", node="KSampler", step=1, seconds=1.0), []),
        (Fault("slow", seconds=0.2), []),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
async def test_one_server_alone_delivers_in_spite_of(fault, expected):
    seen: list[object] = []
    with servers((fault,)) as standins:
        result = await run_on(standins, painting(), seen)
        assert [each.kind for each in standins[0].fired][:1] == [fault.kind]
    assert len(result.images) == 1
    if expected is not None:
        assert kinds(result) == expected
    for attempt in result.attempts[:-1]:
        assert attempt.failure is not None
        assert attempt.recovery
    delivered = [each for each in seen if isinstance(each, events.JobDelivered)]
    assert [each.result for each in delivered] == [result]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("die", node="KSampler", step=2), FailureKind.SERVER_DIED),
        (Fault("dead_worker", node="KSampler"), FailureKind.STALLED),
        (Fault("freeze", node="KSampler", seconds=20.0), FailureKind.STALLED),
        (Fault("missing_model", model="sd15.safetensors"), FailureKind.REJECTED),
        (Fault("missing_node", node="KSampler"), FailureKind.REJECTED),
        (Fault("corrupt_model", model="sd15.safetensors"), FailureKind.NODE_ERROR),
        (Fault("disk_full", times=0), FailureKind.NODE_ERROR),
        (Fault("raise", node="KSampler", times=0), FailureKind.NODE_ERROR),
        (Fault("out_of_memory", node="KSampler", times=0), FailureKind.OUT_OF_MEMORY),
        (Fault("block", node="VAEDecode", times=0), FailureKind.NOTHING_MADE),
        (Fault("truncated_file", times=0), FailureKind.OUTPUT_DAMAGED),
        (Fault("missing_file", times=0), FailureKind.OUTPUT_MISSING),
        (Fault("http_error", path="/prompt", status=502, times=0), FailureKind.SERVER_ERROR),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
async def test_the_next_server_delivers_when_the_first_has(fault, expected):
    with servers((fault,), ()) as standins:
        result = await run_on(standins, painting())
        good = standins[1].url
    assert result.server == good
    assert set(kinds(result)) == {expected}
    assert len(result.images) == 1


async def test_a_frozen_server_is_not_waited_for_once_that_is_known():
    freeze = Fault("freeze", node="KSampler", seconds=20.0)
    with servers((freeze,), ()) as standins:
        result = await run_on(standins, painting())
    assert kinds(result) == [FailureKind.STALLED]
    assert result.seconds < 12


async def test_an_error_of_the_workflow_itself_is_not_tried_for_ever():
    fault = Fault("raise", node="KSampler", times=0, exception_type="ValueError", message="no")
    with servers((fault,), (fault,)) as standins:
        with pytest.raises(NodeFailedError) as caught:
            await run_on(standins, painting())
    error = caught.value
    assert error.node_id == "5"
    assert error.node_type == "KSampler"
    assert error.category == "workflow"
    assert "ValueError: no" in str(error)
    assert len(error.attempts) == 3
    assert error.attempts[-1].recovery == "it fails the same way on two servers"


async def test_out_of_memory_everywhere_is_said_as_such():
    fault = Fault("out_of_memory", node="KSampler", times=0)
    with servers((fault,)) as standins:
        with pytest.raises(OutOfMemoryError) as caught:
            await run_on(standins, painting())
    assert len(caught.value.attempts) == 3
    assert caught.value.category == "memory"


async def test_a_decode_that_only_fits_after_unloading_is_mended_by_free():
    with servers((), vram_bytes=4 * 2**30) as standins:
        result = await run_on(standins, painting(size=1280))
    assert all(kind is FailureKind.OUT_OF_MEMORY for kind in kinds(result))
    assert len(result.images) == 1


async def test_a_missing_model_is_named_with_what_there_is():
    fault = Fault("missing_model", model="sd15.safetensors")
    with servers((fault,)) as standins:
        with pytest.raises(WorkflowRejectedError) as caught:
            await run_on(standins, painting())
    (problem,) = caught.value.problems
    assert "sd15.safetensors" in problem.words
    assert "sdxl.safetensors" in problem.words
    assert caught.value.node_type == "CheckpointLoaderSimple"


async def test_a_workflow_whose_values_are_wrong_is_refused_without_a_second_try():
    with servers((), ()) as standins:
        with pytest.raises(WorkflowRejectedError, match="steps is 0; the least allowed is 1"):
            await run_on(standins, painting(steps=0))


async def test_a_partly_valid_workflow_is_a_failure_and_leaves_nothing_running():
    graph = painting(steps=200).to_api()
    graph["8"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}
    with servers(()) as standins:
        with pytest.raises(WorkflowRejectedError, match="'images' is missing"):
            await run_on(standins, Workflow.from_api(graph))
        # The good branch was queued by the server; it was taken back.
        async with ComfyUI(standins[0].url) as comfy:
            queue = await comfy.servers[0].queue()
    assert queue.running == ()
    assert queue.pending == ()


async def test_somebody_who_keeps_stopping_a_job_is_taken_at_their_word():
    fault = Fault("interrupted", node="KSampler", times=0)
    with servers((fault,), (fault,)) as standins:
        with pytest.raises(RunInterruptedError):
            await run_on(standins, painting())


async def test_a_workflow_blocked_on_every_server_says_what_blocked_it():
    fault = Fault("block", node="VAEDecode", message="the licence is not accepted", times=0)
    with servers((fault,)) as standins:
        with pytest.raises(OutputMissingError, match="the licence is not accepted"):
            await run_on(standins, picture_with_decode())


def picture_with_decode() -> Workflow:
    return painting(steps=1)


async def test_no_server_at_all_is_said_after_the_time_allowed():
    with servers(()) as standins:
        standins[0].kill()
        with pytest.raises(ServerUnreachableError, match=r"can(not)? be reached"):
            await run_on(standins, picture(), reach_seconds=0.5)


async def test_a_server_that_comes_back_while_all_are_down_gets_the_job():
    with servers((Fault("die", post=1, restart=1.0),)) as standins:
        result = await run_on(standins, picture())
    assert len(result.images) == 1


async def test_a_cached_success_whose_file_is_gone_is_made_again():
    with servers(()) as standins:
        first = await run_on(standins, picture())
        for path in (standins[0].folder / "output").glob("*.png"):
            path.unlink()
        second = await run_on(standins, picture())
    assert kinds(second) == [FailureKind.OUTPUT_MISSING]
    assert first.images[0].sha256 != ""
    assert second.notes == ("the saving nodes were made to run again, past the server's cache",)


async def test_a_job_found_again_on_a_server_that_froze_is_joined_not_repeated():
    # Longer than the watch's patience and the withdrawal's together.
    freeze = Fault("freeze", node="KSampler", step=2, seconds=6.0)
    with servers((freeze,)) as standins:
        patience = Patience(idle=1.0, ask=0.3, deaf=0.4, unanswered=1.0, absent=0.3)
        result = await run_on(standins, painting(steps=8), patience=patience)
        async with ComfyUI(standins[0].url) as comfy:
            everything = await comfy.servers[0]._json("GET", "/history")
    assert FailureKind.STALLED in kinds(result)
    ours = [key for key in everything.body if key == result.prompt_id]
    assert ours == [result.prompt_id]
    assert any("joined" in note for note in result.notes)


@pytest.mark.parametrize("step", range(1, 6))
async def test_killing_a_server_at_any_step_loses_nothing(step, tmp_path):
    with servers((Fault("die", node="KSampler", step=step),), ()) as standins:
        urls = [each.url for each in standins]
        async with ComfyUI(*urls, patience=QUICK, output_dir=tmp_path) as comfy:
            result = await comfy.run(painting(steps=5), deadline=20.0)
    (image,) = result.images
    with Image.open(image.path) as picture_made:
        picture_made.load()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["painting.png"]
