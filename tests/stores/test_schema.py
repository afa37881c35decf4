"""Migrations: they make what the code expects, once, and Alembic is not loaded for nothing."""

from __future__ import annotations

import subprocess
import sys
import threading

from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from holdfast.stores import ErrorHistory, address, schema, tables


def test_the_migrations_make_the_tables_of_the_code(url):
    ErrorHistory(url).close()
    engine = address.parse(url).engine()
    with engine.connect() as connection:
        options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, tables.metadata)
    engine.dispose()
    assert differences == []


def test_the_code_knows_every_migration():
    config = Config()
    config.set_main_option("script_location", "holdfast.stores:migrations")
    scripts = ScriptDirectory.from_config(config)
    known = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(known)) == schema.KNOWN
    assert scripts.get_current_head() == schema.HEAD


def test_threads_that_open_a_new_history_at_once_all_succeed(url):
    opened, failed = [], []

    def work():
        try:
            opened.append(ErrorHistory(url))
        except Exception as error:  # looked at below
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    troubles = [history.trouble for history in opened]
    for history in opened:
        history.close()
    assert failed == []
    assert troubles == [None] * 6


def test_opening_a_history_that_is_up_to_date_does_not_load_alembic(tmp_path):
    path = tmp_path / "errors.db"
    ErrorHistory(path).close()
    code = (
        "import sys; from holdfast.stores import ErrorHistory;"
        f"ErrorHistory({str(path)!r}).close();"
        "print('alembic' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout == "False\n", out.stderr


def test_the_package_loads_without_sqlalchemy_and_says_what_is_missing():
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "import holdfast, holdfast.stores\n"
        "try:\n    holdfast.stores.ErrorHistory\n"
        "except ModuleNotFoundError as error:\n    print(error)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "an error history needs sqlalchemy" in out.stdout, out.stderr
    assert 'pip install "holdfast[sql]"' in out.stdout


def test_a_path_with_odd_signs_works(tmp_path):
    path = tmp_path / "100% of #errors?.db"
    with ErrorHistory(path) as history:
        assert history.trouble is None
    assert path.exists()
