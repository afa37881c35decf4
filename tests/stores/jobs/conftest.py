"""A job store of each kind, made as quickly as its database can be copied."""

from __future__ import annotations

import contextlib
import shutil

import pytest

from holdfast.stores.jobs import JobStore


@pytest.fixture
def open_store(url):
    """Opens the store at ``url``, as often as wanted; all are closed in the end."""
    with contextlib.ExitStack() as stack:

        def opened(where=url, **settings):
            store = JobStore(where, **settings)
            stack.callback(store.close)
            return store

        yield opened


@pytest.fixture
def store(open_store):
    return open_store()


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory):
    """A SQLite store with nothing in it."""
    path = tmp_path_factory.mktemp("empty") / "jobs.db"
    JobStore(path).close()
    return path


@pytest.fixture
def path(empty_file, tmp_path):
    """A SQLite store of one's own."""
    return shutil.copy(empty_file, tmp_path / "jobs.db")
