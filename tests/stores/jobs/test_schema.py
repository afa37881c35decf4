"""The schema of the job store: made once, known in every version, and upgraded with its data."""

from __future__ import annotations

import json
import threading

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from holdfast.stores import ErrorHistory, SchemaTooNewError, address
from holdfast.stores.address import writing
from holdfast.stores.jobs import JobState, JobStore, NewJob, opening, tables
from holdfast.stores.jobs.copying import go_on_numbering

CHAIN = opening.CHAIN


def config(connection=None):
    made = Config()
    made.set_main_option("script_location", str(CHAIN.folder))
    made.attributes["connection"] = connection
    made.attributes["version_table"] = CHAIN.version_table
    return made


def test_the_migrations_make_the_tables_of_the_code(url):
    JobStore(url).close()
    engine = address.parse(url).engine()
    with engine.connect() as connection:
        options = {"version_table": CHAIN.version_table, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        differences = compare_metadata(context, tables.metadata)
    engine.dispose()
    assert differences == []


def test_the_code_knows_every_migration():
    scripts = ScriptDirectory.from_config(config())
    known = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(known)) == CHAIN.known
    assert scripts.get_current_head() == CHAIN.head


@pytest.mark.parametrize("version", CHAIN.known)
def test_a_store_of_every_version_there_was_is_upgraded_with_its_jobs(url, version):
    engine = address.parse(url).engine()
    with writing(engine) as connection:
        command.upgrade(config(connection), version)
    old = sa.MetaData()
    old.reflect(engine)
    values = {"state": "queued", "id": "old", "number": 7, "priority": 3, "prompt": "a cat"}
    with writing(engine) as connection:
        connection.execute(sa.insert(old.tables["job"]), filled(old.tables["job"], values))
        body = {"job": "old", "payload": json.dumps({"graph": {"n": 1}}), "outcome": None}
        connection.execute(sa.insert(old.tables["job_body"]), filled(old.tables["job_body"], body))
        line = {"job": "old", "kind": "accepted", "data": "{}", "seq": 1}
        connection.execute(
            sa.insert(old.tables["job_event"]), filled(old.tables["job_event"], line)
        )
        connection.execute(sa.insert(old.tables["counter"]), {"name": "job", "value": 7})
        go_on_numbering(connection)
    engine.dispose()
    store = JobStore(url)
    with store.engine.connect() as connection:
        assert opening.schema.version_of(connection, "x", CHAIN) == CHAIN.head
    job = store.job("old")
    assert (job.number, job.priority, job.prompt, job.state) == (7, 3, "a cat", JobState.QUEUED)
    assert store.body("old") == {"graph": {"n": 1}}
    assert [event.kind for event in store.story("old")] == ["accepted"]
    assert store.accept([NewJob({})]).result()[0].number == 8
    (claim,) = store.claim("w").result()
    assert claim.job.id == "old"
    store.settle("old", claim.fence, JobState.DELIVERED, {}).result()
    assert store.close()


def filled(table, values):
    """A row with something in every column that needs it."""
    row = {}
    for column in table.columns:
        if not column.nullable:
            kind = column.type.python_type
            row[column.name] = kind() if kind is not bool else False
    return row | values


def test_a_newer_schema_is_left_alone(url):
    store = JobStore(url)
    table = sa.table(CHAIN.version_table, sa.column("version_num"))
    change = sa.update(table).values(version_num="9999")
    with store.engine.begin() as connection:
        connection.execute(change)
    assert store.close()
    with pytest.raises(SchemaTooNewError, match=r"job store .* has schema 9999"):
        JobStore(url)


def test_stores_and_histories_that_are_made_by_threads_at_once_all_succeed(tmp_path):
    failed = []

    def work(kind, number):
        try:
            kind(tmp_path / f"{kind.__name__}-{number}.db").close()
        except Exception as error:  # looked at below
            failed.append(error)

    kinds = [(kind, number) for kind in (JobStore, ErrorHistory) for number in range(4)]
    threads = [threading.Thread(target=work, args=each) for each in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
