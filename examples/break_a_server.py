"""Test your own client: a stand-in server that fails as written in a TOML text, or by hand."""

from __future__ import annotations

import json
import urllib.request

from holdfast.comfyui.standin import StandIn, StandInConfig, load_faults

FAULTS = """
[[fault]]
kind = "http_error"
path = "/system_stats"
status = 503
times = 1
"""


def ask(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/system_stats", timeout=5) as answer:
            return f"ComfyUI {json.load(answer)['system']['comfyui_version']}"
    except OSError as error:
        return f"no: {error}"


with StandIn(StandInConfig(faults=load_faults(FAULTS))) as server:
    print("first:", ask(server.url))
    print("second:", ask(server.url))
    server.kill()
    print("killed:", ask(server.url))
    server.restart()
    print("restarted:", ask(server.url))
    print("what struck:", *server.fired)
