"""ComfyUI's real web page, in a real browser, through the gateway."""

from __future__ import annotations

import time
from pathlib import Path

import comfyui_frontend_package
import pytest

from tests.comfyui.graphs import painting
from tests.gateways import browser, gateway, keep_picture, servers

pytestmark = pytest.mark.timeout(180)
PAGE = Path(comfyui_frontend_package.__file__).parent / "static"
SHOWN = """() => [...document.images].filter(
    image => image.src.includes('/view?filename=painting') && image.naturalWidth > 0
).length"""


def open_page(page, url: str) -> None:
    page.goto(f"{url}/", timeout=60_000)
    page.wait_for_function("window.app && window.app.graph", timeout=60_000)


def test_a_workflow_queued_on_the_page_survives_the_death_of_servers_and_gateway(tmp_path):
    with (
        browser() as chromium,
        servers(tmp_path, "--step-seconds", "0.25", "--page", str(PAGE)) as behind,
        gateway(*behind.urls, data=tmp_path / "data", options=("--no-keys",)) as made,
    ):
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        open_page(page, made.url)
        graph = painting(5, steps=16).to_api()
        assert page.evaluate(
            "async g => { await app.loadApiJson(g, 'w.json'); return app.graph._nodes.length }",
            graph,
        ) == len(graph)
        # On its first visit the page offers templates, over everything else.
        page.get_by_role("dialog").wait_for(timeout=30_000)
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="hidden")
        page.get_by_test_id("queue-button").click()
        until = time.monotonic() + 30
        while not (running := made.ask("/queue")["queue_running"]):
            assert time.monotonic() < until, made.log
            time.sleep(0.1)
        job = running[0][1]
        time.sleep(1.0)
        keep_picture(page, "comfyui-page-running")
        behind.kill()
        made.kill()
        behind.start()
        made.start()
        entry = made.until(job, 60)
        assert entry["status"]["status_str"] == "success"
        # The page has come back by itself, and shows the picture.
        page.wait_for_function(f"({SHOWN})() > 0", timeout=60_000)
        keep_picture(page, "comfyui-page-after-the-crash")
        page.goto(f"{made.url}/holdfast/job/{job}")
        page.wait_for_selector(".story")
        page.wait_for_timeout(800)
        assert "Delivered" in page.inner_text(".story")
        keep_picture(page, "dashboard-after-the-crash")
