"""The `holdfast` command's first step: says what to install where the extra is missing."""

from __future__ import annotations

import importlib.util
import sys


def main() -> None:
    """Run the command line."""
    missing = [
        name
        for name in ("click", "rich", "aiohttp", "PIL", "numpy")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        sys.stderr.write(
            f"holdfast: the command line needs {', '.join(missing)}; "
            'install it with: pip install "holdfast[cli]"\n'
        )
        sys.exit(2)
    try:
        from holdfast.apps.cli import run_cli
    except KeyboardInterrupt:  # so early that nothing has begun
        sys.exit(130)
    run_cli()
