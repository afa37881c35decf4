"""Memory pressure as Linux tells it, read from trees made for the purpose."""

from __future__ import annotations

import sys

import pytest

from holdfast.system.degradation import MemoryPressure, memory_pressure

MEMINFO = "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:   {} kB\nHugePages_Total: 0\n"
PSI = "some avg10={} avg60=0.00 avg300=0.00 total=5\nfull avg10=90.00 avg60=0.00 avg300=0 total=1\n"


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return memory_pressure(root)


def group(name, current, limit, *, idle=0):
    folder = f"sys/fs/cgroup/{name}".rstrip("/")
    return {
        f"{folder}/memory.current": f"{current}\n",
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.stat": f"anon 5\ninactive_file {idle}\nactive_file 9\n",
    }


def test_the_machine_alone(tmp_path):
    pressure = tree(tmp_path, {"proc/meminfo": MEMINFO.format(250)})
    assert pressure == MemoryPressure(0.75, None, "machine")


def test_time_lost_waiting_is_the_share_in_which_some_task_stood_still(tmp_path):
    files = {"proc/meminfo": MEMINFO.format(250), "proc/pressure/memory": PSI.format("12.50")}
    assert tree(tmp_path, files) == MemoryPressure(0.75, 0.125, "machine")


def test_the_container_counts_when_its_limit_is_nearer(tmp_path):
    files = {"proc/meminfo": MEMINFO.format(900), "proc/self/cgroup": "0::/a/b\n"}
    files |= group("a/b", 960, 1000, idle=60) | {
        "sys/fs/cgroup/a/b/memory.pressure": PSI.format("40.00")
    }
    assert tree(tmp_path, files) == MemoryPressure(0.9, 0.4, "/a/b")


def test_a_group_further_up_counts_when_its_limit_is_nearest(tmp_path):
    files = {"proc/self/cgroup": "1:cpu:/x\n0::/a/b\n"}
    files |= group("a/b", 100, "max") | group("a", 50, 100) | group("", 10, 100)
    assert tree(tmp_path, files) == MemoryPressure(0.5, None, "/a")


def test_a_container_that_sees_itself_as_the_root(tmp_path):
    files = {"proc/self/cgroup": "0::/\n"} | group("", 80, 100)
    assert tree(tmp_path, files) == MemoryPressure(0.8, None, "/")


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/meminfo": ""},
        {"proc/meminfo": "MemTotal: 1000 kB\n"},
        {"proc/meminfo": "MemTotal: 0 kB\nMemAvailable: 0 kB\n"},
        {"proc/meminfo": "MemTotal: many kB\nMemAvailable: few kB\n"},
        {"proc/meminfo": "\x00\xff"},
        {"proc/self/cgroup": "0::/../outside\n"},
        {"proc/self/cgroup": "0::/a\n"} | group("a", "?", 100),
        {"proc/self/cgroup": "0::/a\n"} | group("a", 5, 0),
        {"proc/pressure/memory": PSI.format("5.00")},
    ],
)
def test_where_nobody_tells_the_answer_is_none(tmp_path, files):
    assert tree(tmp_path, files) is None


@pytest.mark.parametrize("text", ["", "some", "some avg10=", "some avg10=lots", "full avg10=5"])
def test_a_broken_account_of_waiting_is_none(tmp_path, text):
    files = {"proc/meminfo": MEMINFO.format(500), "proc/pressure/memory": text}
    assert tree(tmp_path, files) == MemoryPressure(0.5, None, "machine")


def test_more_in_use_than_there_is_counts_as_all(tmp_path):
    files = {"proc/self/cgroup": "0::/a\n"} | group("a", 150, 100)
    assert tree(tmp_path, files) == MemoryPressure(1.0, None, "/a")


def test_this_machine_tells_or_is_none():
    pressure = memory_pressure()
    if sys.platform == "linux":
        assert pressure is not None
        assert 0 < pressure.used <= 1
    else:
        assert pressure is None
