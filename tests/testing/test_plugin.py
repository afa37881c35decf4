"""The pytest plugin, run in a pytest of its own, with and without pytest-asyncio."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

pytest_plugins = ["pytester"]

STRICT = ["-W", "error", "--import-mode=importlib", "--strict-markers", "-p", "no:cacheprovider"]
# Installed, pytest finds it by itself, and refuses to be told twice.
INSTALLED = [point.name for point in entry_points(group="pytest11")]
PLUGIN = [] if "holdfast" in INSTALLED else ["-p", "holdfast.testing.plugin"]


@pytest.fixture
def run(pytester):
    def run(source, *options):
        if "no:asyncio" not in options:
            pytester.makeini(
                "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
            )
        pytester.makepyfile(source)
        return pytester.runpytest_inprocess(*STRICT, *PLUGIN, *options)

    return run


def test_sync_tests_run_on_fake_time(run):
    run(
        """
        from holdfast import Backoff, Retry
        from holdfast.ports import ambient
        from holdfast.testing import FakeClock, scenario

        def test_waits(fake_clock, holdfast_events, fixed_chance):
            assert isinstance(fake_clock, FakeClock)
            play = scenario().fails(1).then_succeeds(3)
            assert Retry(backoff=Backoff.exponential(8.0)).call(play) == 3
            assert fake_clock.slept == [8.0]
            assert "RetryScheduled" in holdfast_events.names
            assert fixed_chance.drawn == [0.5]

        def test_nothing_is_left_of_it():
            from holdfast.events import hub
            assert ambient.now.__module__ != "holdfast.testing.clock"
            assert not hasattr(ambient.chance, "drawn")
            assert not hub.active
        """
    ).assert_outcomes(passed=2)


def test_async_tests_run_on_fake_time_in_the_loop_of_pytest_asyncio(run):
    run(
        """
        import asyncio, time, pytest
        from holdfast import DeadlineExceededError, Timeout

        @pytest.mark.parametrize("seconds", [3600, 7200])
        async def test_sleeps(fake_clock, seconds):
            began = fake_clock.now()
            with pytest.raises(DeadlineExceededError):
                await Timeout(seconds).execute(asyncio.sleep, seconds + 1)
            assert fake_clock.now() == pytest.approx(began + seconds)

        class TestMethods:
            async def test_sleeps(self, fake_clock):
                await asyncio.sleep(3600)

        async def test_real_time_is_back():
            loop = asyncio.get_running_loop()
            assert abs(loop.time() - time.monotonic()) < 1
        """
    ).assert_outcomes(passed=4)


def test_a_failing_async_test_leaves_nothing_behind(run):
    run(
        """
        import asyncio

        async def test_fails(fake_clock):
            await asyncio.sleep(5)
            raise KeyError

        async def test_real_time_is_back():
            assert "time" not in vars(asyncio.get_running_loop())
        """
    ).assert_outcomes(passed=1, failed=1)


def test_no_waits_takes_the_wait_out_of_time_sleep_too(run):
    run(
        """
        import time, pytest

        pytestmark = pytest.mark.usefixtures("no_waits")

        def test_sleeps():
            began = time.monotonic()
            time.sleep(3600)
            assert time.monotonic() - began < 60
        """
    ).assert_outcomes(passed=1)


def test_it_works_without_pytest_asyncio(run):
    run(
        """
        import asyncio

        def test_runs_async_code(fake_clock):
            fake_clock.run(asyncio.sleep(3600))
            assert fake_clock.now() == 4600.0
        """,
        "-p",
        "no:asyncio",
    ).assert_outcomes(passed=1)


def test_the_fixtures_are_listed_with_what_they_are_for(run):
    result = run("", "--fixtures")
    result.stdout.fnmatch_lines_random(
        ["fake_clock*", "no_waits*", "fixed_chance*", "holdfast_events*"]
    )


def test_importing_the_plugin_loads_none_of_the_tools():
    code = (
        "import sys, pytest; import holdfast.testing.plugin;"
        "print(*sorted(n for n in sys.modules if n.startswith('holdfast.testing')))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout.split() == ["holdfast.testing", "holdfast.testing.plugin"], out.stderr
