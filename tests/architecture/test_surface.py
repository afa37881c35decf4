"""The house in order: the public surface, the weight of the import, the documentation's tables."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import holdfast
import holdfast.comfyui
from holdfast import events
from holdfast.apps.cli import cli
from holdfast.apps.config_defaults import defaults
from holdfast.apps.exits import Exit
from holdfast.comfyui.failures import _ERRORS, FailureKind
from holdfast.comfyui.standin.faults import KINDS
from holdfast.system.settings import settings_from

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.mark.parametrize("module", [holdfast, holdfast.comfyui], ids=lambda m: m.__name__)
def test_the_public_surface_is_sorted_and_exists(module):
    assert list(module.__all__) == sorted(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_the_core_imports_nothing_but_the_standard_library():
    code = (
        "import sys; before = set(sys.modules); import holdfast;"
        "print(*sorted({n.partition('.')[0] for n in set(sys.modules) - before}))"
    )
    out = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    names = set(out.stdout.split()) - {"holdfast"}
    assert names <= sys.stdlib_module_names, names


def test_the_command_line_says_what_is_missing_without_its_extra():
    code = (
        "import sys, importlib.util as u; real = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name == 'rich' else real(name, *a);"
        "from holdfast.apps.entry import main; main()"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.returncode == 2
    assert "needs rich" in out.stderr
    assert 'pip install "holdfast[cli]"' in out.stderr


def test_every_option_and_exit_code_is_documented():
    text = (DOCS / "cli.md").read_text()
    commands = dict(cli.commands)
    for name, command in cli.commands.items():
        if isinstance(command, click.Group):
            commands |= {f"{name} {sub}": each for sub, each in command.commands.items()}
    for name, command in commands.items():
        assert f"holdfast {name}" in text
        for option in command.params:
            if isinstance(option, click.Option) and name != "demo":
                assert option.opts[0] in text, f"{name} {option.opts[0]}"
    for code in Exit:
        assert re.search(rf"^\| {code.value} \|", text, re.MULTILINE), code


def test_the_defaults_in_the_documentation_are_those_of_the_code():
    assert (DOCS / "defaults.toml").read_text() == defaults()
    settings_from(DOCS / "defaults.toml")


def test_every_failure_and_fault_is_documented():
    failures = (DOCS / "failures.md").read_text()
    for kind in FailureKind:
        assert f"`{kind.value}`" in failures
        assert f"`{_ERRORS[kind].__name__}`" in failures
    faults = (DOCS / "standin.md").read_text()
    for kind in KINDS:
        assert f"`{kind}`" in faults


PAGES = {path: path.read_text() for path in DOCS.rglob("*.md")}


def test_every_public_name_of_the_core_is_in_the_documentation():
    everything = "\n".join(PAGES.values())
    missing = [name for name in holdfast.__all__ if not re.search(rf"\b{name}\b", everything)]
    assert not missing


def test_every_event_is_in_its_table():
    text = (DOCS / "events.md").read_text()
    told = {n for n in events.__all__ if n[0].isupper()} - {
        "Event",
        "Occurrence",
        "Hub",
        "Listener",
    }
    for name in told - {"Subscription"}:
        assert f"| `{name}` |" in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_every_example_a_page_includes_is_there(path):
    for line in PAGES[path].splitlines():
        if "--8" in line:
            marker = re.fullmatch(r'--8<-- "([^"]+)"', line)
            assert marker, line
            assert (ROOT / marker[1]).is_file(), line


def test_no_module_outgrows_one_idea():
    for path in (ROOT / "src").rglob("*.py"):
        lines = len(path.read_text().splitlines())
        assert lines <= 450, f"{path}: {lines} lines"


def test_no_module_is_a_grab_bag():
    forbidden = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc", "core"}
    for path in (ROOT / "src").rglob("*.py"):
        assert path.stem not in forbidden, path


def test_readme_links_lead_somewhere():
    for name in ("README.md", "ARCHITECTURE.md"):
        for target in re.findall(r"\]\(((?!http)[^)#]+)\)", (ROOT / name).read_text()):
            assert (ROOT / target).exists(), f"{name}: {target}"
