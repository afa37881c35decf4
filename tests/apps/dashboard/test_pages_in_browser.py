"""The dashboard's pages in a real browser, over a store with an hour's work in it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.stores.jobs import JobState, JobStore, StoredJob
from tests.apps.dashboard.site import HOSTILE

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.timeout(180)
CHROMIUM = Path("/usr/bin/chromium")
ARTEFACTS = Path(os.environ.get("HOLDFAST_ARTEFACTS", "build/artefacts"))
PAGES = {
    "overview": "/",
    "servers": "/servers",
    "jobs": "/jobs",
    "errors": "/errors",
    "dead-letters": "/dead-letters",
    "controls": "/controls",
}
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
HOSTILE_JOB = "/job/a%2Fb%3Fc%23%22d%22%20%252f"


@dataclass
class Site:
    """A dashboard in a process of its own, and the store it shows."""

    folder: Path
    url: str
    store: JobStore

    def jobs(self, state: JobState) -> list[StoredJob]:
        return self.store.jobs(states=[state], newest_first=False)

    @property
    def audit(self) -> list[str]:
        told = self.folder / "audit.txt"
        return told.read_text(encoding="utf-8").splitlines() if told.exists() else []


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.apps.dashboard.site", str(folder), str(port)]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}/holdfast"
    try:
        until(lambda: answers(url + "/", process), 60)
        store = JobStore(folder / "jobs.db")
        yield Site(folder, url, store)
        store.close()
    finally:
        process.terminate()
        process.wait(20)
    assert "Traceback" not in (folder / "log.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def visit(chromium, site: Site, who: str = "", size: str = "desktop", **how: Any) -> Iterator[Any]:
    """A page of a fresh browser, in which nothing may go wrong."""
    width, height = SIZES[size]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, reduced_motion="reduce", **how
    )
    if who:
        context.add_cookies([{"name": "who", "value": who, "url": site.url}])
    page = context.new_page()
    troubles: list[str] = []
    page.on("console", lambda m: troubles.append(m.text) if m.type in ("error", "warning") else 0)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("response", lambda r: troubles.append(f"{r.status} {r.url}") if r.status > 399 else 0)
    page.on(
        "request",
        lambda r: 0 if r.url.startswith((site.url, "data:", "blob:")) else troubles.append(r.url),
    )
    yield page
    context.close()
    assert troubles == []


@pytest.fixture
def page(chromium, site) -> Iterator[Any]:
    with visit(chromium, site) as made:
        yield made


def answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "the site has ended"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def until(condition: Callable[[], object], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def go(page, site: Site, path: str) -> None:
    page.goto(site.url + path)
    page.wait_for_selector("main h1")
    page.wait_for_function("window.socket?.connected && window.did_handshake")


def press(page, name: str, *, sure: bool = False) -> None:
    """Press a button, and say yes where it asks."""
    page.get_by_role("button", name=name).first.click()
    if sure:
        page.get_by_role("dialog").get_by_role("button", name=name.partition(":")[0]).click()


def said(page, words: str) -> None:
    page.get_by_role("alert").filter(has_text=words).first.wait_for()


def keep(page, name: str, *, whole: bool = False) -> None:
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"dashboard-{name}.png", full_page=whole)


def test_every_page_fits_every_screen_in_light_and_dark_and_loads_nothing_from_elsewhere(
    chromium, site
):
    for size, (width, _) in SIZES.items():
        with visit(chromium, site, size=size) as page:
            for name, path in PAGES.items():
                go(page, site, path)
                page.wait_for_timeout(500)
                assert page.locator("main h1").count() == 1
                assert page.evaluate("document.documentElement.scrollWidth") <= width, name
                for colours in ("light", "dark"):
                    page.emulate_media(color_scheme=colours)
                    page.wait_for_selector(f"body.body--{colours}")
                    keep(page, f"{name}-{size}-{colours}")


def test_a_job_shows_its_pictures_and_tells_its_story(page, site):
    job = next(
        job for job in site.jobs(JobState.DELIVERED)
        if any(event.kind == "degraded" for event in site.store.story(job.id))
    )  # fmt: skip
    go(page, site, f"/job/{job.id}")
    told = page.locator(".story").inner_text()
    for words in ("Accepted", "Attempt 1 failed", "out of memory", "Recovery", "Delivered"):
        assert words in told
    shown = page.locator("img.shot").first
    shown.evaluate("image => image.decode()")
    assert shown.evaluate("image => image.naturalWidth") == 320
    keep(page, "job-desktop-light", whole=True)
    with page.expect_download() as kept:
        page.locator("a.file").first.click()
    (file, *_) = site.store.files(job.id)
    assert kept.value.suggested_filename == file.filename
    assert Path(kept.value.path()).stat().st_size == file.size
    page.get_by_text("Show as JSON").click()
    assert "KSampler" in page.locator("pre.code").inner_text()


def test_what_strangers_write_is_shown_as_text_and_runs_nothing(page, site):
    for path in ("/jobs?state=queued", HOSTILE_JOB, "/jobs?q=%3Cimg%20src%3Dx%20onerror"):
        go(page, site, path)
        page.get_by_text(HOSTILE).first.wait_for()
        assert "49" not in page.locator("main").inner_text().split("{{ 7*7 }}")[-1].splitlines()[0]
        assert page.locator('img[src="x"]').count() == 0
    assert page.title() != "1"


def test_the_jobs_are_searched_filtered_and_paged(page, site):
    go(page, site, "/jobs?state=failed")
    failed = len(site.jobs(JobState.FAILED))
    assert page.locator("tbody tr").count() == min(failed, 50)
    page.get_by_role("link", name=re.compile("^all")).click()
    page.wait_for_selector("tbody tr")
    first = page.locator("td.cell-name a").first.inner_text()
    page.get_by_role("link", name="Older").click()
    page.get_by_role("link", name="Newest").wait_for()
    assert page.locator("td.cell-name a").first.inner_text() != first
    go(page, site, "/jobs?q=no+such+thing")
    page.get_by_text("No job matches").wait_for()


def test_everything_is_reached_without_a_mouse(page, site):
    go(page, site, "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to main content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.className") == "page"
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_text("Search the jobs").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    page.keyboard.press("2")
    page.wait_for_url("**/servers")
    page.wait_for_function("window.socket?.connected && window.did_handshake")
    page.keyboard.press("/")
    page.wait_for_function("document.activeElement.tagName == 'INPUT'")
    page.keyboard.type("harbour")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs?q=harbour")
    page.wait_for_selector("td.cell-name a")
    assert all("harbour" in name for name in page.locator("td.cell-name a").all_inner_texts())
    for _ in range(40):
        page.keyboard.press("Tab")
        focus = "document.activeElement"
        # What has the focus can be seen, and has a name.
        assert page.evaluate(f"getComputedStyle({focus}).outlineStyle != 'none' ||"
                             f" {focus}.closest('.q-field') !== null")  # fmt: skip
        assert page.evaluate(f"({focus}.textContent.trim() || {focus}.ariaLabel) !== null")
        if page.evaluate(f"{focus}.closest('td.cell-name') !== null"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector(".story")


def test_the_focus_stays_where_it_is_while_the_page_changes(page, site):
    go(page, site, "/servers")
    button = page.get_by_role("button", name=re.compile("^Remove: http")).first
    button.focus()
    before = page.locator("main").inner_text()
    page.wait_for_function("text => document.querySelector('main').innerText != text", arg=before)
    page.wait_for_timeout(2_500)
    assert button.evaluate("element => element === document.activeElement")


def test_the_choice_of_colours_is_remembered_and_leads_nowhere_else(page, site):
    go(page, site, "/jobs?state=failed")
    dark = "document.body.classList.contains('body--dark')"
    assert not page.evaluate(dark)
    for chosen in ("light", "dark"):
        page.get_by_role("link", name=f"Change to {chosen}").click()
        page.get_by_role("link", name=f"Colours: {chosen}").wait_for()
        assert page.url.endswith("/jobs?state=failed")
    page.wait_for_function(dark)
    go(page, site, "/errors")
    page.wait_for_function(dark)
    answer = page.context.request.get(
        f"{site.url}/theme?to=dark&back=//example.org/x", max_redirects=0
    )
    assert answer.headers["location"] == "./example.org/x"


def test_a_job_is_ranked_and_cancelled_and_retried(page, site):
    job = site.jobs(JobState.QUEUED)[-1]
    go(page, site, f"/job/{job.id}")
    page.get_by_label("Priority", exact=True).fill("7")
    page.keyboard.press("Enter")
    said(page, "priority 7")
    assert site.store.job(job.id).priority == 7
    page.get_by_role("button", name="Cancel job").click()
    page.get_by_role("dialog").get_by_text("Cancel this job?").wait_for()
    page.keyboard.press("Escape")  # no
    page.get_by_role("dialog").wait_for(state="detached")
    assert site.store.job(job.id).state is JobState.QUEUED
    press(page, "Cancel job", sure=True)
    said(page, "The job is cancelled")
    assert site.store.job(job.id).state is JobState.CANCELLED
    press(page, "Retry")
    said(page, "queued again")
    assert site.store.job(job.id).state is JobState.QUEUED
    assert f"|cancel|{job.id}|True" in site.audit


def test_dead_letters_get_another_chance_one_by_one_or_all_at_once(page, site):
    go(page, site, "/dead-letters")
    dead = len(site.jobs(JobState.FAILED))
    assert page.locator("li.letter").count() == dead
    press(page, "Retry:")
    said(page, "queued again")
    until(lambda: page.locator("li.letter").count() == dead - 1)
    assert len(site.jobs(JobState.FAILED)) == dead - 1
    press(page, "Retry all", sure=True)
    said(page, f"{dead - 1} jobs are queued again")
    assert site.jobs(JobState.FAILED) == []
    page.get_by_text("There are no dead letters").wait_for()
    assert page.evaluate("document.querySelectorAll('li.letter').length") == 0


def test_the_queue_is_paused_with_a_reason_that_every_page_tells(page, site):
    go(page, site, "/controls")
    page.get_by_label("Why it is paused").fill("new drivers")
    press(page, "Pause", sure=True)
    said(page, "The queue is paused")
    assert site.store.paused() == "new drivers"
    go(page, site, "/errors")
    page.get_by_text("The queue is paused: new drivers").wait_for()
    go(page, site, "/controls")
    press(page, "Resume")
    said(page, "The queue goes on")
    assert site.store.paused() is None


def test_the_level_of_service_is_set_and_held_by_hand(page, site):
    go(page, site, "/controls")
    page.get_by_role("radio", name=re.compile("^low")).click()
    page.get_by_role("switch", name=re.compile("^Keep it there")).click()
    press(page, "Set the level", sure=True)
    said(page, "The level is low, and stays there")
    page.get_by_text("held there by hand").wait_for()
    page.get_by_text("full to low: set on the dashboard").wait_for()
    page.get_by_role("radio", name=re.compile("^full")).click()
    page.get_by_role("switch", name=re.compile("^Keep it there")).click()
    press(page, "Set the level", sure=True)
    said(page, "may move by itself")


def test_a_breaker_is_opened_closed_and_reset(page, site):
    go(page, site, "/controls")
    breaker = page.locator("li.breaker").filter(has_text="huggingface.co")
    press(page, "Open: huggingface.co", sure=True)
    breaker.get_by_text("forced open").wait_for()
    press(page, "Close: huggingface.co")
    breaker.get_by_text("closed", exact=True).wait_for()
    press(page, "Reset: huggingface.co")
    said(page, "forgotten")


def test_servers_are_added_and_removed_and_nonsense_is_refused(page, site):
    go(page, site, "/servers")
    servers = page.locator("li.server")
    known = servers.count()
    page.get_by_label("Address").fill("not an address")
    page.keyboard.press("Enter")
    page.get_by_role("alert").first.wait_for()
    assert servers.count() == known
    page.get_by_label("Address").fill("http://127.0.0.1:7")
    page.keyboard.press("Enter")
    said(page, "is in the pool")
    until(lambda: servers.count() == known + 1)
    press(page, "Remove: http://127.0.0.1:7", sure=True)
    until(lambda: servers.count() == known)


def test_a_key_that_may_only_look_sees_its_own_and_can_press_nothing(chromium, site):
    other = next(job for job in site.jobs(JobState.DELIVERED) if job.user == "bob")
    own = next(
        job for job in site.jobs(JobState.QUEUED) if job.user == "ada" and job.name != HOSTILE
    )
    with visit(chromium, site, "reader") as page:
        go(page, site, f"/job/{own.id}")
        page.get_by_text("actions that need").wait_for()
        button = page.get_by_role("button", name="Cancel job")
        assert button.is_disabled()
        assert "scope" in button.get_attribute("title")
        go(page, site, f"/job/{other.id}")
        page.get_by_role("heading", name="No such job").wait_for()
        go(page, site, "/controls")
        for name in ("Pause", "Set the level", "Open: huggingface.co"):
            assert page.get_by_role("button", name=name).first.is_disabled()
    (file, *_) = site.store.files(other.id)
    for path in (f"/thumb/{file.sha256}", f"/file/{file.sha256}/x.png"):
        assert status(site, path, "reader") == 404
        assert status(site, path, "") == 200
    assert status(site, "/thumb/..%2f..%2fetc%2fpasswd", "") == 404
    assert status(site, "/", "stranger") == 403


def test_a_page_that_is_open_does_nothing_any_more_once_its_key_is_taken_away(chromium, site):
    own = next(
        job for job in site.jobs(JobState.QUEUED) if job.user == "ada" and job.name != HOSTILE
    )
    with visit(chromium, site, "ada") as page:
        go(page, site, f"/job/{own.id}")
        (site.folder / "revoked").write_text("ada")
        try:
            press(page, "Cancel job", sure=True)
            said(page, "has not the scope")
        finally:
            (site.folder / "revoked").unlink()
    assert site.store.job(own.id).state is JobState.QUEUED
    assert f"ada|cancel|{own.id}|False" in site.audit


def test_what_is_not_the_dashboards_is_left_to_others(site):
    with urllib.request.urlopen(site.url.removesuffix("/holdfast") + "/prompt") as answer:
        assert answer.read() == b"passed on: /prompt"
    with urllib.request.urlopen(site.url) as answer:
        assert answer.url == site.url + "/"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def status(site: Site, path: str, who: str) -> int:
    request = urllib.request.Request(site.url + path, headers={"Cookie": f"who={who}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)
