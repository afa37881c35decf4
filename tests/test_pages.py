"""Every piece of Python in the README and on the pages runs as it stands.

Where a piece speaks of things it does not define (a job, an upload), they are here. Names of
servers lead to the embedded one.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

import holdfast
from holdfast.comfyui.standin import StandIn, StandInConfig
from holdfast.stores import ErrorHistory
from holdfast.system.recovery import SupervisedProcess
from holdfast.testing import FakeClock, scenario

ROOT = Path(__file__).parents[1]
SERVERS = re.compile(r"https?://(gpu\d:8188|weather\.example/today)")


def pieces():
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for number, code in enumerate(
            re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
        ):
            if "--8<--" not in code:
                name = f"{path.relative_to(ROOT).as_posix()}:{number}"
                yield pytest.param(code, id=name)


@pytest.fixture(scope="module")
def server():
    with StandIn(StandInConfig()) as server:
        yield server


async def job(*_):
    return "a picture"


def surroundings():
    upload = scenario().fails(2, ConnectionError).then_succeeds("ok")
    prices = scenario().then_succeeds({"EUR": 1})
    everything = {name: getattr(holdfast, name) for name in holdfast.__all__}
    return everything | {
        "breaker": holdfast.CircuitBreaker("api"),
        "holdfast": holdfast,
        "system": holdfast.ErrorHandlingSystem(),
        "error": ConnectionRefusedError("refused"),
        "error_info": holdfast.capture(ConnectionRefusedError("refused")),
        "paint": lambda what: f"a picture of {what}",
        "painter": SupervisedProcess([sys.executable, "-c", "pass"], ready=lambda: True),
        "find_by_key": lambda key: holdfast.Lookup.absent,
        "job": job,
        "load": lambda number: number,
        "load_prices": prices,
        "pipeline": holdfast.Pipeline(
            holdfast.Retry(backoff=holdfast.Backoff.exponential(initial=10.0, jitter=0))
        ),
        "render": job,
        "small": job,
        "upload": upload,
    }


@pytest.mark.parametrize("code", [one for one in pieces() if "def test_" not in one.values[0]])
def test_a_piece_runs(code, server, tmp_path, monkeypatch):
    shutil.copy(ROOT / "examples" / "portrait.json", tmp_path)
    monkeypatch.chdir(tmp_path)
    if "copy(" in code:
        ErrorHistory("errors.db").close()
    run(SERVERS.sub(lambda found: address(found, server), code))


def run(code):
    compiled = compile(code, "<page>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    real = any(word in code for word in ("comfyui", "httpx", "stores", "history"))
    names = {"__name__": "__main__"} | surroundings()
    try:
        with nullcontext() if real else FakeClock():
            perform(compiled, names)
    finally:
        if isinstance(names["system"], holdfast.ErrorHandlingSystem):
            names["system"].close()


def perform(compiled, names):
    if compiled.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(compiled, names))  # noqa: S307  # our own pages
    else:
        exec(compiled, names)  # noqa: S102  # our own pages


def address(found, server):
    return server.url + ("/system_stats" if "weather" in found[0] else "")


@pytest.mark.parametrize("code", [one for one in pieces() if "def test_" in one.values[0]])
def test_a_piece_that_is_a_test_passes(code, tmp_path):
    path = tmp_path / "test_page.py"
    path.write_text(code)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("--rootdir", tmp_path, "-o", "asyncio_mode=auto", path),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"[1-9]\d* passed", done.stdout)
