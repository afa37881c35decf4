"""What a run says, to whom, in which order, and what is kept of it."""

import pytest

from holdfast.comfyui.standin import StandInConfig
from tests.comfyui.standin.tiny import graph, running, sampled

START = ["status", "status", "status", "execution_start", "execution_cached"]
END = ["status", "executing"]


async def test_a_good_run_in_order():
    async with running() as client, client.ear() as ear:
        prompt_id = await client.submit(sampled(2))
        assert await ear.until_done() == [
            *START,
            "executing",
            "executing",
            "executing",
            "executed",
            "execution_success",
            *END,
        ]
        nodes = [data["node"] for data in ear.data("executing")]
        assert nodes == ["1", "2", "3", None]
        assert ear.data("progress") == [
            {"value": step, "max": 2, "prompt_id": prompt_id, "node": "2"} for step in (1, 2)
        ]
        states = ear.data("progress_state")
        assert [list(state["nodes"]) for state in states] == [
            ["1"], ["1"], *[["1", "2"]] * 4, *[["1", "2", "3"]] * 2,
        ]  # fmt: skip
        image = {"filename": "out_00001_.png", "subfolder": "", "type": "output"}
        assert ear.data("executed") == [
            {
                "node": "3",
                "display_node": "3",
                "output": {"images": [image]},
                "prompt_id": prompt_id,
            }
        ]
        entry = (await client.get(f"/history/{prompt_id}"))[prompt_id]
        assert list(entry) == ["prompt", "outputs", "status", "meta"]
        assert entry["prompt"] == [0, prompt_id, sampled(2), {"client_id": "me"}, ["3"]]
        assert entry["outputs"] == {"3": {"images": [image]}}
        assert entry["meta"]["3"]["real_node_id"] == "3"
        assert entry["status"]["status_str"] == "success"
        assert entry["status"]["completed"] is True
        assert [name for name, _ in entry["status"]["messages"]] == [
            "execution_start",
            "execution_cached",
            "execution_success",
        ]


async def test_the_same_graph_again_shows_the_old_file():
    async with running() as client, client.ear() as ear:
        await client.finished(await client.submit(sampled(1)))
        await ear.until_done()
        ear.heard.clear()
        prompt_id = await client.submit(sampled(1))
        names = await ear.until_done()
        assert names == ["status"] * 2 + START[3:] + ["executed", "execution_success", *END]
        assert ear.data("execution_cached")[0]["nodes"] == ["1", "3", "2"]
        assert ear.data("executed")[0]["output"]["images"][0]["filename"] == "out_00001_.png"
        (state,) = ear.data("progress_state")
        assert state["nodes"]["3"]["value"] == 1
        assert (await client.finished(prompt_id))["outputs"]["3"]
        assert len(list(client.server.folder.glob("output/*"))) == 1


async def test_another_graph_in_between_evicts_all():
    async with running() as client, client.ear() as ear:
        for prompt in (sampled(1), graph(width=9), sampled(1)):
            await client.submit(prompt)
            await ear.until_done()
        cached = [data["nodes"] for data in ear.data("execution_cached")]
        assert cached == [[], [], []]


async def test_an_unknown_input_changes_the_key_and_is_not_passed_on():
    async with running() as client, client.ear() as ear:
        await client.submit(graph())
        await ear.until_done()
        extra = graph()
        extra["1"]["inputs"]["bogus"] = 1
        await client.submit(extra)
        await ear.until_done()
        assert ear.data("execution_cached")[1]["nodes"] == []
        assert ear.names().count("execution_success") == 2


async def test_without_client_id_only_progress_is_said_but_to_everybody():
    async with running() as client, client.ear() as ear, client.ear("other") as other:
        await client.finished(await client.submit(sampled(2, preview=True), None))
        await ear.until("status")
        for one in (ear, other):
            while not await one.silence():
                pass
            assert set(one.names(progress=True)) == {
                "status", "progress_state", "progress", "frame 1",
            }  # fmt: skip


async def test_others_hear_only_the_queue():
    async with running() as client, client.ear() as ear, client.ear("other") as other:
        await client.submit(sampled(2))
        await ear.until_done()
        for _ in range(3):
            await other.until("status")
        assert await other.silence()
        assert other.names(progress=True) == ["status"] * 4


async def test_a_failing_node():
    async with running() as client, client.ear() as ear:
        broken = graph("Fail", exception_type="RuntimeError", message="oh no")
        prompt_id = await client.submit(broken)
        names = await ear.until_done()
        assert names == [*START, "executing", "executing", "execution_error", *END]
        (error,) = ear.data("execution_error")
        assert list(error) == [
            "prompt_id",
            "node_id",
            "node_type",
            "executed",
            "exception_message",
            "exception_type",
            "traceback",
            "current_inputs",
            "current_outputs",
            "timestamp",
        ]
        assert (error["node_id"], error["node_type"], error["executed"]) == ("2", "Fail", ["1"])
        assert (error["exception_type"], error["exception_message"]) == ("RuntimeError", "oh no\n")
        assert error["current_inputs"]["message"] == ["oh no"]
        assert error["current_inputs"]["image"][0].startswith("tensor([[[[0.")
        assert error["current_outputs"] == ["1", "3", "2"]
        assert all(line.startswith("  File ") for line in error["traceback"])
        status = (await client.finished(prompt_id))["status"]
        assert (status["status_str"], status["completed"]) == ("error", False)
        assert status["messages"][-1] == ["execution_error", error]
        ear.heard.clear()
        broken["2"]["inputs"]["message"] = "again"
        await client.submit(broken)
        await ear.until_done()
        assert ear.data("execution_cached")[0]["nodes"] == ["1"]


async def test_any_exception_goes_by_its_full_name():
    async with running() as client, client.ear() as ear:
        await client.submit(graph("Crash"))
        await ear.until_done()
        (error,) = ear.data("execution_error")
        assert error["exception_type"] == "IndexError"


async def test_running_out_of_memory_adds_a_tip_and_unloads():
    async with running() as client, client.ear() as ear:
        load = {"9": {"class_type": "Load", "inputs": {"name": "sd15.safetensors"}}}
        use = {"8": {"class_type": "Use", "inputs": {"model": ["9", 0]}}}
        await client.finished(await client.submit(load | use))
        await ear.until_done()
        device = (await client.get("/system_stats"))["devices"][0]
        assert device["vram_free"] < device["vram_total"] - 1024**3
        kind = "torch.OutOfMemoryError"
        await client.submit(graph("Fail", exception_type=kind, message="no room"))
        await ear.until_done()
        (error,) = ear.data("execution_error")
        assert error["exception_message"].startswith(
            "no room\nThis error means you ran out of memory on your GPU.\n\nTIPS: "
        )
        after = (await client.get("/system_stats"))["devices"][0]
        assert after["vram_free"] > device["vram_free"]


@pytest.mark.parametrize("message", ["", "not today"])
async def test_a_blocked_branch_succeeds_without_output(message):
    async with running() as client, client.ear() as ear:
        prompt_id = await client.submit(graph("Block", message=message))
        names = await ear.until_done()
        blocked = ["execution_error"] if message else []
        assert names == [*START, *["executing"] * 3, *blocked, "execution_success", *END]
        if message:
            (error,) = ear.data("execution_error")
            assert error["exception_type"] == "ExecutionBlocked"
            assert error["exception_message"] == "Execution Blocked: not today"
            assert (error["node_id"], error["current_inputs"]) == ("3", [])
            assert "timestamp" not in error
        entry = await client.finished(prompt_id)
        assert entry["outputs"] == {}
        assert entry["status"]["status_str"] == "success"
        assert len(entry["status"]["messages"]) == 3


async def test_an_interrupt_acts_when_the_node_asks():
    async with running() as client, client.ear() as ear:
        prompt_id = await client.submit(sampled(300))
        await ear.until("progress")
        assert (await client.post("/interrupt", {"prompt_id": "another"}))[0] == 200
        await ear.until("progress")
        assert (await client.post("/interrupt", {"prompt_id": prompt_id}))[0] == 200
        names = await ear.until_done()
        assert names[-3:] == ["execution_interrupted", *END]
        (told,) = ear.data("execution_interrupted")
        assert list(told) == ["prompt_id", "node_id", "node_type", "executed", "timestamp"]
        assert (told["node_id"], told["executed"]) == ("2", ["1"])
        entry = await client.finished(prompt_id)
        assert entry["status"]["status_str"] == "error"
        assert entry["status"]["messages"][-1][0] == "execution_interrupted"


async def test_a_node_that_does_not_ask_is_interrupted_at_the_next():
    async with running() as client, client.ear() as ear:
        await client.submit(sampled(20, poll=False))
        await ear.until("executing", node="2")
        await client.post("/interrupt")
        await ear.until_done()
        (told,) = ear.data("execution_interrupted")
        assert (told["node_id"], told["node_type"], told["executed"]) == ("3", "Save", ["1", "2"])


async def test_an_interrupt_while_idle_is_forgotten():
    async with running() as client, client.ear() as ear:
        await client.post("/interrupt")
        await client.submit(sampled(1))
        assert "execution_success" in await ear.until_done()


async def test_an_interrupt_without_client_id_is_said_to_everybody():
    async with running() as client, client.ear() as ear:
        await client.submit(sampled(300), None)
        await ear.until("progress")
        await client.post("/interrupt")
        told = await ear.until("execution_interrupted")
        assert told["node_id"] == "2"


async def test_free_acts_after_the_job():
    async with running() as client, client.ear() as ear:
        await client.submit(sampled(1))
        await ear.until_done()
        assert (await client.post("/free", {"unload_models": True}))[0] == 200
        await client.submit(sampled(1))
        await ear.until_done()
        assert (await client.post("/free", {"free_memory": True}))[0] == 200
        # A job that is posted before the worker has seen the wish still finds the results.
        await client.until(lambda: not client.server._life.jobs._flags)
        await client.submit(sampled(1))
        await ear.until_done()
        counts = [len(data["nodes"]) for data in ear.data("execution_cached")]
        assert counts[:2] == [0, 3]
        assert counts[2] == 0


async def test_start_order_is_number_then_id():
    async with running() as client, client.ear() as ear:
        first = await client.submit(sampled(30, nonce=1))
        ids = [await client.submit(sampled(1, nonce=n), prompt_id=f"p{n}") for n in (2, 3)]
        front = await client.submit(sampled(1, nonce=4), front=True, prompt_id="f")
        low = await client.submit(sampled(1, nonce=5), number=0.5, prompt_id="x")
        assert (await client.get("/queue"))["queue_pending"][0][0] == -3
        for _ in range(5):
            await ear.until_done()
        started = [data["prompt_id"] for data in ear.data("execution_start")]
        assert started == [first, front, low, *ids]


async def test_two_jobs_of_one_id_both_run_and_the_last_is_kept():
    async with running() as client, client.ear() as ear:
        for nonce in (1, 2):
            assert await client.submit(sampled(1, nonce=nonce), prompt_id="same") == "same"
        await ear.until_done()
        await ear.until_done()
        history = await client.get("/history")
        assert list(history) == ["same"]
        assert history["same"]["prompt"][2]["2"]["inputs"]["nonce"] == 2


async def test_a_tie_of_number_and_id_is_a_500_that_runs_all_the_same():
    async with running() as client, client.ear() as ear:
        await client.submit(sampled(30))
        await ear.until("progress")
        await client.submit(sampled(1, nonce=1), number=7, prompt_id="tie")
        body = {"prompt": sampled(1, nonce=2), "number": 7, "prompt_id": "tie", "client_id": "me"}
        assert (await client.post("/prompt", body))[0] == 500
        assert len((await client.get("/queue"))["queue_pending"]) == 2
        for _ in range(3):
            await ear.until_done()
        assert len(ear.data("execution_success")) == 3


async def test_history_forgets_the_oldest():
    assert StandInConfig().history_limit == 10000
    async with running(history_limit=2) as client:
        for nonce in range(4):
            prompt_id = await client.submit(sampled(0, nonce=nonce), prompt_id=str(nonce))
            await client.finished(prompt_id)
        assert list(await client.get("/history")) == ["1", "2", "3"]


async def test_secrets_stay_out_of_the_history():
    async with running() as client:
        secrets = {"api_key_comfy_org": "s3", "auth_token_comfy_org": "s4", "other": 1}
        prompt_id = await client.submit(graph(), None, extra_data=secrets)
        assert (await client.finished(prompt_id))["prompt"][3] == {"other": 1}


async def test_extra_data_of_null_kills_the_worker_for_good():
    async with running() as client:
        prompt_id = await client.submit(graph(), None, extra_data=None)
        await client.submit(graph(width=9))
        await client.until(lambda: len(client.server._life.jobs.running()) == 1)
        assert (await client.post("/interrupt"))[0] == 200
        queue = await client.get("/queue")
        assert [job[1] for job in queue["queue_running"]] == [prompt_id]
        assert len(queue["queue_pending"]) == 1
        assert await client.get("/prompt") == {"exec_info": {"queue_remaining": 2}}
        assert "TypeError" in await client.get("/internal/logs")


async def test_a_link_to_nowhere_in_an_unknown_input_kills_the_worker_for_good():
    async with running() as client, client.ear() as ear:
        poison = graph()
        poison["1"]["inputs"]["bogus"] = ["nobody", 0]
        prompt_id = await client.submit(poison)
        await ear.until("execution_cached")
        await client.submit(graph(width=9))
        await ear.until("status")
        assert await ear.silence()
        assert ear.names() == [*START, "status"]
        queue = await client.get("/queue")
        assert [job[1] for job in queue["queue_running"]] == [prompt_id]
        assert len(queue["queue_pending"]) == 1
        assert await client.get(f"/history/{prompt_id}") == {}


async def test_extra_data_of_a_list_fails_where_it_is_needed():
    async with running() as client:
        prompt_id = await client.submit(graph(), None, extra_data=[])
        entry = await client.finished(prompt_id)
        error = entry["status"]["messages"][-1][1]
        assert error["exception_message"] == "'list' object has no attribute 'get'\n"
        assert error["current_inputs"] == {}
