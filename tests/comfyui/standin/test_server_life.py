"""Starting, stopping, dying, freezing and coming back."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import aiohttp
import pytest

from holdfast.comfyui.standin import StandIn, StandInConfig
from holdfast.errors import BadInputError
from tests.comfyui.standin.tiny import CATALOG, graph, running, sampled, standin


def test_it_starts_at_once_and_leaves_nothing_behind():
    with standin():  # the first start loads what all need
        pass
    threads = set(threading.enumerate())
    took = []
    for _ in range(3):  # the quickest counts: the machine may be busy
        began = time.perf_counter()
        with standin():
            took.append(time.perf_counter() - began)
    assert min(took) < 0.3
    with standin() as server:
        assert server.alive
        folder = server.folder
        assert sorted(path.name for path in folder.iterdir()) == ["input", "output", "temp"]
        assert server.url == f"http://127.0.0.1:{server.port}"
    assert not server.alive
    assert not folder.exists()
    assert set(threading.enumerate()) == threads


def test_a_folder_of_ones_own_stays(tmp_path):
    with standin(folder=tmp_path) as server:
        (tmp_path / "output" / "a.png").write_bytes(b"a")
        (tmp_path / "temp" / "b.png").write_bytes(b"b")
        assert server.folder == tmp_path
    with standin(folder=tmp_path):
        assert (tmp_path / "output" / "a.png").exists()
        assert not (tmp_path / "temp" / "b.png").exists()


def test_a_taken_port_is_an_error_at_once():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="use"):
        standin(port=taken.getsockname()[1]).start()


@pytest.mark.parametrize(
    "settings",
    [
        {"device": "tpu"},
        {"port": 70000},
        {"vram_bytes": 0},
        {"step_seconds": -1},
        {"models": {"sweets": ("a",)}},
    ],
)
def test_settings_that_cannot_work(settings):
    with pytest.raises(BadInputError, match=next(iter(settings))):
        StandInConfig(**settings)


def test_old_folder_names_are_understood():
    config = StandInConfig(models={"unet": ("a",), "clip": ("b",)})
    assert config.listed("diffusion_models") == {"a"}
    assert config.listed("clip") == {"b"}


async def test_a_kill_is_1006_and_refused_connections():
    async with running() as client, client.ear() as ear:
        await client.submit(sampled(300))
        await ear.until("progress")
        await asyncio.to_thread(client.server.kill)
        while (await ear.listen())[0] != "CLOSED":
            pass
        assert ear.socket.close_code == 1006
        with pytest.raises(aiohttp.ClientConnectorError):
            await client.get("/prompt")
        assert not client.server.alive


async def test_a_restart_forgets_all_but_files():
    async with running() as client:
        port = client.server.port
        prompt_id = await client.submit(graph())
        await client.finished(prompt_id)
        (client.server.folder / "temp" / "x").write_bytes(b"x")
        await asyncio.to_thread(client.server.restart)
        assert client.server.port == port
        assert await client.get("/history") == {}
        assert await client.get("/queue") == {"queue_running": [], "queue_pending": []}
        assert (await client.post("/prompt", {"prompt": graph()}))[1]["number"] == 0
        assert [path.name for path in (client.server.folder / "output").iterdir()][:1]
        assert not (client.server.folder / "temp" / "x").exists()


async def test_many_restarts_on_one_port():
    async with running() as client:
        for _ in range(10):
            assert await client.get("/prompt") == {"exec_info": {"queue_remaining": 0}}
            await asyncio.to_thread(client.server.restart)


async def test_a_frozen_server_answers_nothing_and_reads_later():
    async with running() as client, client.ear() as ear:
        client.server.freeze(0.8)
        await asyncio.sleep(0.05)
        impatient = aiohttp.ClientTimeout(total=0.1)
        body = {"prompt": graph(), "prompt_id": "late"}
        with pytest.raises(TimeoutError):
            await client.post("/prompt", body, timeout=impatient)
        assert client.server.alive
        entry = await client.finished("late")
        assert entry["status"]["completed"] is True
        assert not ear.socket.closed
        await ear.until("status")


async def test_a_frozen_job_goes_on_afterwards():
    async with running() as client, client.ear() as ear:
        await client.submit(sampled(10))
        await ear.until("progress")
        client.server.freeze(0.3)
        began = time.perf_counter()
        assert "execution_success" in await ear.until_done()
        assert time.perf_counter() - began > 0.25


def test_a_frozen_server_can_be_stopped():
    began = time.perf_counter()
    with standin() as server:
        server.freeze(60)
        time.sleep(0.05)
    assert time.perf_counter() - began < 20


@pytest.mark.parametrize("frozen", [False, True])
def test_no_connection_outlives_it_whoever_does_not_listen(frozen):
    with standin() as server:
        with socket.create_connection(("127.0.0.1", server.port)) as deaf:
            deaf.sendall(b"GET /prompt HTTP/1.1\r\nHost: x\r\n\r\n")
            deaf.recv(1)
            (transport,) = server._life._loop._transports.values()

            def say_much_and_hang_up():
                transport.write(bytes(50_000_000))
                transport.get_protocol().force_close()

            server._life._loop.call_soon_threadsafe(say_much_and_hang_up)
            if frozen:
                server.freeze(20)
            time.sleep(0.05)
            server.kill()
            assert transport._sock is None


def test_a_start_that_fails_closes_what_it_opened(tmp_path):
    (tmp_path / "input").write_bytes(b"not a folder")
    server = standin(folder=tmp_path)
    with pytest.raises(FileExistsError):
        server.start()
    with socket.create_server(("127.0.0.1", server.port)):
        assert not server.alive
    server.stop()


def test_a_seed_repeats_the_names():
    def prefix(seed):
        with StandIn(StandInConfig(seed=seed), catalog=CATALOG) as server:
            return server._life.temp_prefix

    assert prefix(1) == prefix(1) != prefix(2)
    assert prefix(1).startswith("ComfyUI_temp_")


PROCESS = """
import sys
from holdfast.comfyui.standin import Fault, StandIn, StandInConfig
faults = (Fault("die", after=0.05),) if sys.argv[1] == "die" else ()
StandIn(StandInConfig(faults=faults), catalog={}).run_forever(lambda url: print(url, flush=True))
print("ended", flush=True)
"""


def process(mode):
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, mode], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_as_a_process_it_ends_on_signals(number):
    with process("live") as running_process:
        assert running_process.stdout.readline().startswith("http://127.0.0.1:")
        running_process.send_signal(number)
        assert running_process.stdout.read() == "ended\n"
    assert running_process.returncode == 0


def test_as_a_process_it_dies_for_real():
    with process("die") as running_process:
        output = running_process.stdout.read()
    assert "ended" not in output
    assert running_process.returncode == 137
