"""`holdfast doctor`: is a server alive, does its worker work, and what is wrong?"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.apps.exits import Exit
from holdfast.comfyui import ComfyUI
from holdfast.comfyui.canary import worker_answers
from holdfast.comfyui.failures import clip
from holdfast.comfyui.server import RefusedError, Server, ServerCallError
from holdfast.text import printable

LOW_MEMORY = 0.05
"""Free share of memory below which the doctor warns."""


@dataclass(slots=True)
class Finding:
    """What the doctor found on one server."""

    server: str
    reachable: bool = False
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


async def examine(server: Server, *, seconds: float) -> Finding:
    """Look at one server; never raises for the server's sake."""
    finding = Finding(server.name)
    try:
        stats = await server.system_stats()
        finding.reachable = True
        _read_stats(stats, finding)
        await _read_queue(server, finding, seconds)
        await _read_models(server, finding)
    except RefusedError as error:
        finding.problems.append(f"{error}. Is ComfyUI running there?")
    except ServerCallError as error:
        finding.problems.append(str(error))
    return finding


def _read_stats(stats: Mapping[str, Any], finding: Finding) -> None:
    system = stats.get("system")
    system = system if isinstance(system, dict) else {}
    version = clip(str(system.get("comfyui_version", "unknown")), 40)
    finding.facts["version"] = version
    python = clip(str(system.get("python_version", "?")).split(" ")[0], 20)
    torch = clip(str(system.get("pytorch_version", "?")), 40)
    finding.lines.append(f"version: ComfyUI {version}, Python {python}, PyTorch {torch}")
    _memory("main memory", system.get("ram_free"), system.get("ram_total"), finding)
    devices = stats.get("devices")
    for device in devices if isinstance(devices, list) else []:
        if isinstance(device, dict):
            name = clip(str(device.get("name", "device")), 60)
            _memory(name, device.get("vram_free"), device.get("vram_total"), finding)


def _memory(name: str, free: Any, total: Any, finding: Finding) -> None:
    if not isinstance(free, int) or not isinstance(total, int) or total <= 0:
        return
    finding.facts.setdefault("memory", {})[name] = {"free": free, "total": total}
    finding.lines.append(f"memory: {name}: {free / 2**30:.1f} of {total / 2**30:.1f} GiB free")
    if free / total < LOW_MEMORY:
        finding.problems.append(f"{name} is nearly full: {free / 2**30:.2f} GiB free")


async def _read_queue(server: Server, finding: Finding, seconds: float) -> None:
    queue = await server.queue()
    running, pending = len(queue.running), len(queue.pending)
    finding.facts["queue"] = {"running": running, "pending": pending}
    finding.lines.append(f"queue: {running} running, {pending} waiting")
    took = await worker_answers(server, seconds=seconds)
    finding.facts["worker_seconds"] = took
    if took is not None:
        finding.lines.append(f"worker: alive, a tiny graph took {took * 1000:.0f} ms")
    elif running:
        finding.problems.append(
            f"worker: did not reach a tiny graph within {seconds:g} s; it is busy with a long job, "
            "or dead (if that job never ends, only a restart of ComfyUI helps)"
        )
    else:
        finding.problems.append(
            f"worker: dead: an idle server did not finish a tiny graph within {seconds:g} s; "
            "restart ComfyUI"
        )


async def _read_models(server: Server, finding: Finding) -> None:
    counts = {}
    for folder in ("checkpoints", "diffusion_models", "text_encoders", "vae", "loras"):
        try:
            counts[folder] = len(await server.models(folder))
        except ServerCallError:
            continue  # an older server without this folder
    finding.facts["models"] = counts
    finding.lines.append("models: " + ", ".join(f"{n} {name}" for name, n in counts.items()))
    if not counts.get("checkpoints") and not counts.get("diffusion_models"):
        finding.problems.append("models: no checkpoint and no diffusion model is installed")


def examine_all(servers: Sequence[str], *, as_json: bool, seconds: float) -> Exit:
    """Examine every server and print what was found; returns the exit code."""
    findings = asyncio.run(_examine_all(servers, seconds=seconds))
    for finding in findings:
        if as_json:
            sys.stdout.write(
                json.dumps(
                    {
                        "server": finding.server,
                        "reachable": finding.reachable,
                        "problems": finding.problems,
                        **finding.facts,
                    }
                )
                + "\n"
            )
            continue
        verdict = "well" if not finding.problems else "NOT WELL"
        lines = [f"{finding.server}: {verdict}"]
        lines += [f"  ok       {line}" for line in finding.lines]
        lines += [f"  problem  {problem}" for problem in finding.problems]
        sys.stdout.write("\n".join(printable(line) for line in lines) + "\n")
    if not any(finding.reachable for finding in findings):
        return Exit.NO_SERVER
    return Exit.SOME_FAILED if any(finding.problems for finding in findings) else Exit.OK


async def _examine_all(servers: Sequence[str], *, seconds: float) -> list[Finding]:
    async with ComfyUI(*servers, call_seconds=min(10.0, max(1.0, seconds))) as comfy:
        return list(
            await asyncio.gather(*(examine(server, seconds=seconds) for server in comfy.servers))
        )
