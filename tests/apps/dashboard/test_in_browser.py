"""The dashboard in a real browser, before a real gateway with a real store."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from holdfast.comfyui.standin import Fault, StandIn, StandInConfig
from holdfast.stores.jobs import JobState, JobStore
from tests.comfyui.graphs import node, painting
from tests.gateways import Gateway, browser, gateway, keep_picture

pytestmark = pytest.mark.timeout(180)
PAGES = ("", "servers", "jobs", "errors", "dead-letters", "controls")
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
MOODY = StandInConfig(step_seconds=0.05, faults=(Fault("raise", job=1, node="KSampler", times=1),))


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[Gateway]:
    """A gateway with jobs of every kind."""
    data = tmp_path_factory.mktemp("gateway")
    with StandIn(MOODY) as first, StandIn(StandInConfig(step_seconds=0.05)) as second:
        with gateway(first.url, second.url, data=data) as made:
            done = [post(made, painting(seed, steps=4).to_api()) for seed in range(3)]
            broken = painting(9).to_api()
            broken["1"] = node("CheckpointLoaderSimple", ckpt_name="sd15.safetensors")
            for job in done:
                made.until(job)
            store = JobStore(data / "jobs.db")
            from holdfast.comfyui import Workflow
            from holdfast.comfyui.durable import new_job

            lost = Workflow.from_api({"1": node("NoSuchNode"), "2": node(
                "SaveImage", images=["1", 0], filename_prefix="x")}, name="lost")  # fmt: skip
            store.accept([new_job(lost, name=f"lost {n}") for n in range(2)]).result()
            until(lambda: store.counts()[JobState.FAILED] == 2)
            store.close()
            yield made


@pytest.fixture
def store(house) -> Iterator[JobStore]:
    made = JobStore(house.data / "jobs.db")
    yield made
    made.close()


def post(house: Gateway, graph: dict) -> str:
    return house.ask("/prompt", {"prompt": graph, "client_id": "test"})["prompt_id"]


def until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def page(chromium, house, request) -> Iterator:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    made = context.new_page()
    troubles: list[str] = []
    made.on("pageerror", lambda error: troubles.append(str(error)))
    made.on("console", lambda line: troubles.append(line.text) if line.type == "error" else None)
    yield made
    context.close()
    assert troubles == []


def go(page, house: Gateway, path: str) -> None:
    page.goto(f"{house.url}/holdfast/{path}")
    page.wait_for_selector("h1")
    # Buttons work once the page has its socket.
    page.wait_for_function("window.socket && window.socket.connected")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_page_is_there_in_every_size_and_colour(chromium, house, size, colours):
    width, height = SIZES[size]
    context = chromium.new_context(
        viewport={"width": width, "height": height}, color_scheme=colours
    )
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda line: troubles.append(line.text) if line.type == "error" else None)
    for path in PAGES:
        go(page, house, path)
        page.wait_for_timeout(700)
        assert page.locator("main h1").count() == 1
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width + 1, f"{path} is {wide} pixels wide"
        keep_picture(page, f"dashboard-{size}-{colours}-{path or 'overview'}")
    context.close()
    assert troubles == []


def test_a_job_tells_its_story_and_shows_its_picture(page, house):
    go(page, house, "jobs")
    page.locator("td.cell-name a", has_text="painting").first.click()
    page.wait_for_selector(".story")
    page.wait_for_timeout(700)
    text = page.inner_text("main")
    for words in ("Accepted", "Delivered", "sd15.safetensors", "Workflow"):
        assert words in text
    shown = page.locator("img.shot").first
    assert shown.evaluate("image => image.complete && image.naturalWidth") > 0
    keep_picture(page, "dashboard-job")


def test_a_mended_job_tells_what_went_wrong_and_what_was_done(page, house, store):
    mended = next(
        job for job in store.jobs(states=[JobState.DELIVERED])
        if any(each.kind == "failed_attempt" for each in store.story(job.id))
    )  # fmt: skip
    go(page, house, f"job/{mended.id}")
    page.wait_for_selector(".story")
    assert "KSampler" in page.inner_text(".story")


def test_a_dead_letter_is_tried_again_from_its_page(page, house, store):
    (job, *_rest) = store.jobs(states=[JobState.FAILED])
    go(page, house, f"job/{job.id}")
    page.get_by_role("button", name="Retry").click()
    until(lambda: "retried" in [each.kind for each in store.story(job.id)])
    until(lambda: store.job(job.id).state is JobState.FAILED)


def test_all_dead_letters_are_tried_again_after_a_question(page, house, store):
    failed = store.jobs(states=[JobState.FAILED])
    assert failed
    before = [len(store.story(job.id)) for job in failed]
    go(page, house, "dead-letters")
    page.get_by_role("button", name="Retry all").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry all").click()
    until(lambda: all(
        len(store.story(job.id)) > count for job, count in zip(failed, before, strict=True)
    ))  # fmt: skip
    until(lambda: store.counts()[JobState.FAILED] == len(failed))


def test_the_queue_is_paused_and_goes_on(page, house, store):
    go(page, house, "controls")
    page.get_by_label("Why it is paused").fill("new drivers")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    until(lambda: store.paused() == "new drivers")
    job = post(house, painting(77).to_api())
    go(page, house, f"job/{job}")
    page.get_by_label("Priority", exact=True).fill("7")
    page.get_by_role("button", name="Set the priority").click()
    until(lambda: store.job(job).priority == 7)
    page.get_by_role("button", name="Cancel job").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel job").click()
    until(lambda: store.job(job).state is JobState.CANCELLED)
    go(page, house, "controls")
    page.get_by_role("button", name="Resume").click()
    until(lambda: store.paused() is None)


def test_a_lower_level_of_service_makes_smaller_pictures_and_says_so(page, house):
    go(page, house, "controls")
    page.get_by_text("medium ·").click()
    page.get_by_role("button", name="Set the level").click()
    page.get_by_role("dialog").get_by_role("button", name="Set the level").click()
    page.wait_for_timeout(800)
    job = post(house, painting(31, steps=20, size=512).to_api())
    told = house.until(job)["holdfast"]["degradations"]
    assert any("20 steps became" in each for each in told)
    page.get_by_text("full ·").click()
    page.get_by_role("button", name="Set the level").click()
    page.get_by_role("dialog").get_by_role("button", name="Set the level").click()
    page.wait_for_timeout(800)
    job = post(house, painting(32, steps=20, size=512).to_api())
    assert house.until(job)["holdfast"]["degradations"] == []


def test_a_breaker_is_opened_and_reset_by_hand(page, house):
    go(page, house, "controls")
    page.get_by_role("button", name="Open").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Open").click()
    page.wait_for_selector(".pill:has-text('forced open')")
    page.get_by_role("button", name="Reset").first.click()
    page.wait_for_function("!document.body.innerText.includes('forced open')")


def test_jobs_are_searched_with_a_key_and_opened_without_a_mouse(page, house):
    go(page, house, "")
    page.wait_for_timeout(500)
    page.keyboard.press("/")
    page.wait_for_function("document.activeElement.type === 'search'")  # the server moves the focus
    page.keyboard.type("lost 1")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs?q=lost*")
    page.wait_for_selector("td.cell-name a")
    assert page.locator("td.cell-name a").all_inner_texts() == ["lost 1"]
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('td.cell-name') !== null"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector(".story")


def test_errors_stand_in_groups_with_what_was_done(page, house):
    go(page, house, "errors")
    page.wait_for_timeout(700)
    text = page.inner_text("main")
    assert "NoSuchNode" in text or "KSampler" in text
