"""Every kind of fault, as a client meets it."""

import asyncio
import errno
import time

import aiohttp
import pytest

from holdfast.comfyui.standin import Fault
from tests.comfyui.standin.tiny import graph, running, sampled

QUICK = aiohttp.ClientTimeout(total=0.15)


def load(name):
    return {
        "9": {"class_type": "Load", "inputs": {"name": name}},
        "8": {"class_type": "Use", "inputs": {"model": ["9", 0]}},
    }


async def error_of(client, prompt):
    entry = await client.finished(await client.submit(prompt))
    name, data = entry["status"]["messages"][-1]
    assert name == "execution_error"
    return data


async def test_die_in_the_middle_and_come_back():
    fault = Fault("die", job=1, node="Sampler", step=2, restart=0.1)
    async with running(fault) as client:
        async with client.ear() as ear:
            prompt_id = await client.submit(sampled(50))
            while (await ear.listen())[0] != "CLOSED":
                pass
            assert ear.socket.close_code == 1006
            assert [data["value"] for data in ear.data("progress")][-1] <= 2
        await client.until(lambda: client.server.alive)
        assert await client.get(f"/history/{prompt_id}") == {}
        _, answer = await client.post("/prompt", {"prompt": sampled(3)})
        assert answer["number"] == 0
        await client.finished(answer["prompt_id"])
        assert [(fired.kind, fired.what) for fired in client.server.fired] == [
            ("die", "job 1, node Sampler, step 2")
        ]
        told = await client.get("/holdfast/standin/faults")
        assert told["fired"][0]["kind"] == "die"
        assert told["faults"][0]["node"] == "Sampler"


async def test_die_for_good_by_the_clock():
    async with running(Fault("die", after=0.1)) as client:
        assert await client.get("/prompt")
        await client.until(lambda: not client.server.alive)
        await asyncio.sleep(0.2)  # the listening socket goes a moment later
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get("/prompt")
        await asyncio.to_thread(client.server.restart)
        assert await client.get("/prompt")


async def test_die_at_a_post():
    async with running(Fault("die", post=2)) as client:
        await client.submit(graph())
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.submit(graph())
        await client.until(lambda: not client.server.alive)


async def test_freeze_at_a_post_which_then_runs():
    async with running(Fault("freeze", post=1, seconds=0.8)) as client:
        body = {"prompt": graph(), "prompt_id": "late"}
        with pytest.raises(TimeoutError):
            await client.post("/prompt", body, timeout=QUICK)
        assert (await client.finished("late"))["status"]["completed"]


async def test_freeze_in_a_job():
    async with running(Fault("freeze", step=1, seconds=0.8)) as client, client.ear() as ear:
        await client.submit(sampled(3))
        await ear.until("executing", node="2")
        await asyncio.sleep(0.05)
        with pytest.raises(TimeoutError):
            await client.get("/prompt", timeout=QUICK)
        assert "execution_success" in await ear.until_done()


async def test_dead_worker():
    async with running(Fault("dead_worker", job=2)) as client, client.ear() as ear:
        await client.submit(graph())
        await ear.until_done()
        ear.heard.clear()
        dead = await client.submit(graph(width=9))
        await ear.until("executing")
        await client.submit(graph(width=10))
        await client.post("/interrupt")
        await asyncio.sleep(0.05)
        queue = await client.get("/queue")
        assert [job[1] for job in queue["queue_running"]] == [dead]
        assert len(queue["queue_pending"]) == 1
        await client.post("/queue", {"clear": True})
        assert await client.get("/prompt") == {"exec_info": {"queue_remaining": 1}}
        assert "execution_error" not in ear.names()


async def test_zombie_socket():
    async with running(Fault("zombie_socket", step=1)) as client, client.ear() as ear:
        prompt_id = await client.submit(sampled(5))
        await client.finished(prompt_id)
        while not await ear.silence():
            pass
        assert "execution_success" not in ear.names()
        await ear.socket.ping()
        assert not ear.socket.closed
        async with client.ear() as again:
            await client.submit(graph())
            assert "execution_success" in await again.until_done()


async def test_stuck_reader():
    async with running(Fault("stuck_reader", step=1, seconds=0.8)) as client, client.ear() as ear:
        prompt_id = await client.submit(sampled(3))
        await client.finished(prompt_id)
        assert "execution_success" not in ear.names()
        while not await ear.silence(0.1):
            pass
        assert "execution_success" not in ear.names()
        assert "execution_success" in await ear.until_done()


async def test_lost_response():
    async with running(Fault("lost_response", post=1)) as client:
        body = {"prompt": graph(), "prompt_id": "lost"}
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.post("/prompt", body)
        assert (await client.finished("lost"))["status"]["completed"]


async def test_http_error():
    fault = Fault("http_error", status=503, post=1, retry_after=2)
    async with running(fault, Fault("http_error", status=502, path="/queue", times=2)) as client:
        url = client.server.url
        async with client.session.post(url + "/prompt", json={"prompt": graph()}) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        await client.submit(graph())
        assert [await client.get("/queue"), await client.get("/api/queue")] == [502, 502]
        assert isinstance(await client.get("/queue"), dict)


async def test_slow():
    async with running(Fault("slow", path="/features", seconds=0.15)) as client:
        began = time.perf_counter()
        await client.get("/features")
        assert time.perf_counter() - began > 0.15
        await client.get("/prompt")
        assert [fired.what for fired in client.server.fired] == ["request /features"]


async def test_slow_bytes():
    fault = Fault("slow", path="/view", bytes_per_second=2000)
    async with running(fault, Fault("slow", path="/features", bytes_per_second=300)) as client:
        (client.server.folder / "output" / "a.bin").write_bytes(b"x" * 400)
        began = time.perf_counter()
        url = client.server.url + "/view?filename=a.bin"
        async with client.session.get(url) as answer:
            assert await answer.read() == b"x" * 400
        assert time.perf_counter() - began > 0.15
        assert (await client.get("/features"))["supports_preview_metadata"] is True


async def test_missing_model():
    async with running(Fault("missing_model", model="sd15.safetensors")) as client:
        assert await client.get("/models/checkpoints") == ["sdxl.safetensors"]
        status, answer = await client.post("/prompt", {"prompt": load("sd15.safetensors")})
        assert status == 400
        (error,) = answer["node_errors"]["9"]["errors"]
        assert error["type"] == "value_not_in_list"
        assert client.server.fired[0].what == "sd15.safetensors"


async def test_missing_node_for_one_post():
    async with running(Fault("missing_node", node="Save", post=1, times=1)) as client:
        status, answer = await client.post("/prompt", {"prompt": graph()})
        assert (status, answer["error"]["type"]) == (400, "invalid_prompt")
        await client.finished(await client.submit(graph()))


async def test_corrupt_model():
    settings = {"corrupt_models": frozenset({"sdxl.safetensors"})}
    fault = Fault("corrupt_model", model="sd15.safetensors", job=1, times=1)
    async with running(fault, **settings) as client:
        first = await error_of(client, load("sd15.safetensors"))
        assert "deserializing" in first["exception_message"]
        assert (await client.finished(await client.submit(load("sd15.safetensors"))))["status"][
            "completed"
        ]
        await error_of(client, load("sdxl.safetensors"))


@pytest.mark.parametrize(
    ("device", "kind"), [("cuda", "torch.OutOfMemoryError"), ("cpu", "RuntimeError")]
)
async def test_out_of_memory(device, kind):
    async with running(Fault("out_of_memory", job=1), device=device) as client:
        error = await error_of(client, sampled(1))
        assert error["exception_type"] == kind
        assert error["node_type"] == "Sampler"
        assert ("TIPS" in error["exception_message"]) is (device == "cuda")
        assert (await client.finished(await client.submit(sampled(1))))["status"]["completed"]


async def test_out_of_memory_above_a_size():
    async with running(Fault("out_of_memory", above=8 * 8, times=0)) as client:
        big = sampled(1, nonce=1)
        big["1"]["inputs"]["batch_size"] = 2
        for prompt, fine in ((sampled(1), True), (big, False), (big, False)):
            entry = await client.finished(await client.submit(prompt))
            assert entry["status"]["completed"] is fine


async def test_raise_block_and_the_two_odd_errors():
    faults = (
        Fault("raise", job=1, node="Save", exception_type="OSError", message="broken pipe"),
        Fault("empty_error", job=2),
        Fault("huge_error", job=3, bytes=5_000_000),
        Fault("block", job=4, node="Sampler", message="no"),
    )
    async with running(*faults) as client, client.ear() as ear:
        raised = await error_of(client, sampled(1))
        assert (raised["exception_type"], raised["node_type"]) == ("OSError", "Save")
        assert raised["exception_message"] == "broken pipe\n"
        assert (await error_of(client, sampled(1, nonce=2)))["exception_message"] == "\n"
        huge = await error_of(client, sampled(1, nonce=3))
        assert len(huge["exception_message"]) == 5_000_001
        entry = await client.finished(await client.submit(sampled(1, nonce=4)))
        assert (entry["status"]["status_str"], entry["outputs"]) == ("success", {})
        await ear.until("execution_error", exception_type="ExecutionBlocked")


async def test_a_huge_error_closes_a_default_socket():
    async with running(Fault("huge_error")) as client:
        async with client.ear("me", max_msg_size=4 * 1024 * 1024) as ear:
            prompt_id = await client.submit(graph())
            while (await ear.listen())[0] not in {"ERROR", "CLOSED"}:
                pass
            assert ear.socket.close_code == 1009
        assert (await client.finished(prompt_id))["status"]["status_str"] == "error"


async def test_missing_and_truncated_files():
    async with running(Fault("missing_file", job=1), Fault("truncated_file", job=2)) as client:
        entry = await client.finished(await client.submit(graph()))
        assert entry["status"]["completed"]
        name = entry["outputs"]["3"]["images"][0]["filename"]
        assert await client.get(f"/view?filename={name}") == 404
        entry = await client.finished(await client.submit(graph(width=9)))
        name = entry["outputs"]["3"]["images"][0]["filename"]
        cut = client.server.folder / "output" / name
        assert 0 < cut.stat().st_size < 60


async def test_disk_full_leaves_a_stump():
    async with running(Fault("disk_full")) as client:
        error = await error_of(client, graph())
        assert error["exception_type"] == "OSError"
        assert error["exception_message"] == f"[Errno {errno.ENOSPC}] No space left on device\n"
        assert len(list(client.server.folder.glob("output/*"))) == 1


async def test_interrupted_by_somebody_else():
    async with running(Fault("interrupted", step=2)) as client, client.ear() as ear:
        await client.submit(sampled(50))
        await ear.until_done()
        assert ear.data("execution_interrupted")[0]["node_id"] == "2"
        assert [data["value"] for data in ear.data("progress")] == [1, 2]
