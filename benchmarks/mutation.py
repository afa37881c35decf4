"""How much of the policies' behaviour the tests would notice missing: `make mutants`.

A sample of small changes (another comparison, `and` for `or`, a constant by one off, a condition
turned round, a statement left out) is made one by one in a copy of the source, and the tests of the
changed module are run against it. A change that no test notices has survived. The sample is drawn
by a seed, so that two runs compare. Nothing in the checkout is touched.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).parents[1]
SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
}
GATES = ("tests/gates", "tests/pipeline/test_fused.py")
"""Run too, if a module's own tests notice nothing."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change."""

    path: Path
    line: int
    what: str
    text: str


def mutants(path: Path) -> Iterator[Mutant]:
    """Every change that can be made in a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    count = sum(1 for _ in ast.walk(tree))
    for index in range(count):
        twin = copy.deepcopy(tree)
        node = next(each for number, each in enumerate(ast.walk(twin)) if number == index)
        what = _change(node)
        if what:
            yield Mutant(path, getattr(node, "lineno", 0), what, ast.unparse(twin))


def _change(node: ast.AST) -> str:
    """Change a node in place; say how, or nothing if there is nothing to change."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPPED:
        node.ops[0] = SWAPPED[type(node.ops[0])]()  # type: ignore[assignment]
    elif isinstance(node, ast.BoolOp | ast.BinOp) and type(node.op) in SWAPPED:
        node.op = SWAPPED[type(node.op)]()  # type: ignore[assignment]
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        node.value += 1
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.AugAssign) and type(node.op) in SWAPPED:
        node.op = SWAPPED[type(node.op)]()  # type: ignore[assignment]
    else:
        return ""
    ast.fix_missing_locations(node)
    return ast.unparse(node).splitlines()[0][:100]


def tests_of(module: Path) -> list[str]:
    """The test file that mirrors a module, or the whole folder if it has none."""
    folder = module.relative_to(ROOT / "src" / "holdfast").parent
    own = ROOT / "tests" / folder / f"test_{module.stem}.py"
    chosen = own if own.is_file() else ROOT / "tests" / folder
    return [str(chosen.relative_to(ROOT))]


def survives(mutant: Mutant, copied: Path, seconds: float) -> bool:
    """Whether no test notices."""
    target = copied / mutant.path.relative_to(ROOT)
    original = target.read_text(encoding="utf-8")
    target.write_text(mutant.text, encoding="utf-8")
    try:
        return all(_pass(copied, tests, seconds) for tests in (tests_of(mutant.path), GATES))
    finally:
        target.write_text(original, encoding="utf-8")


def _pass(copied: Path, tests: list[str] | tuple[str, ...], seconds: float) -> bool:
    environment = os.environ | {"PYTHONPATH": str(copied / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:randomly", *tests]
    try:
        done = subprocess.run(  # noqa: S603  # our own tests
            command, cwd=copied, env=environment, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> None:
    """Draw a sample, try it, and print the score and the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default="src/holdfast/policies")
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=180.0, help="for the tests of one change")
    chosen = parser.parse_args()
    found = [one for path in sorted((ROOT / chosen.folder).glob("*.py")) for one in mutants(path)]
    sample = random.Random(chosen.seed).sample(found, min(chosen.sample, len(found)))
    places: SimpleQueue[Path] = SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(os.cpu_count() or 1):
            place = Path(folder) / str(number)
            for name in ("src", "tests", "pyproject.toml", "examples", "docs", "README.md"):
                source = ROOT / name
                copy_of = shutil.copytree if source.is_dir() else shutil.copy
                (place).mkdir(exist_ok=True)
                copy_of(source, place / name)  # type: ignore[operator]
            places.put(place)

        def judge(mutant: Mutant) -> bool:
            place = places.get()
            try:
                return survives(mutant, place, chosen.seconds)
            finally:
                places.put(place)

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            survived = [
                one for one, alive in zip(sample, pool.map(judge, sample), strict=True) if alive
            ]
    for one in survived:
        print(f"survived: {one.path.relative_to(ROOT)}:{one.line}: {one.what}")
    killed = len(sample) - len(survived)
    share = killed / len(sample)
    print(f"{killed} of {len(sample)} changes noticed ({share:.1%}), of {len(found)} possible")


if __name__ == "__main__":
    main()
