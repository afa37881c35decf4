"""Settings from a file, changed while the program runs; no call is lost and no breaker forgets."""

from __future__ import annotations

import tempfile
from pathlib import Path

from holdfast.errors import BadInputError
from holdfast.pipeline.registry import Registry

registry = Registry()
example = Path(__file__).with_name("holdfast.toml")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "holdfast.toml"
        path.write_text(example.read_text())
        registry.load(path)

        suggest = registry.get("suggest")

        @suggest
        def suggest_words(start: str) -> list[str]:
            return [f"{start}house", f"{start}keeper"]

        print(suggest.explain())
        print(suggest_words("light"))

        # An operator allows more time. The function that was decorated above follows.
        path.write_text(path.read_text().replace("seconds = 2", "seconds = 3"))
        print("changed:", registry.reload())
        print(suggest_words("light"), suggest.policies[0].describe())

        # A slip of the pen changes nothing, and is told with its place.
        path.write_text(path.read_text().replace("max_attempts = 2", "max_atempts = 2"))
        try:
            registry.reload()
        except BadInputError as error:
            print("refused:", error)
        print(suggest_words("light"), suggest.policies[0].describe())


main()
