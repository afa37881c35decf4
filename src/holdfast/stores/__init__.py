"""Where facts rest: a history of errors that outlives the process, in SQLite or PostgreSQL.

Needs the extra ``sql`` (SQLAlchemy and Alembic), and ``postgres`` for PostgreSQL. Both are
loaded when a history is first opened, not when this package is imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdfast.stores.copying import copy
    from holdfast.stores.history import ErrorHistory
    from holdfast.stores.records import StoredChange, StoredError, StoredGroup, StoredRecovery
    from holdfast.stores.trouble import HistoryUnavailableError, SchemaTooNewError

_PLACES = {
    "ErrorHistory": "history",
    "HistoryUnavailableError": "trouble",
    "SchemaTooNewError": "trouble",
    "StoredChange": "records",
    "StoredError": "records",
    "StoredGroup": "records",
    "StoredRecovery": "records",
    "copy": "copying",
}

__all__ = [
    "ErrorHistory",
    "HistoryUnavailableError",
    "SchemaTooNewError",
    "StoredChange",
    "StoredError",
    "StoredGroup",
    "StoredRecovery",
    "copy",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'holdfast.stores' has no attribute {name!r}")
    try:
        module = importlib.import_module(f"holdfast.stores.{_PLACES[name]}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "sqlalchemy":
            raise ModuleNotFoundError(
                f'an error history needs {missing}: pip install "holdfast[sql]"',
                name=error.name,
            ) from error
        raise
    return getattr(module, name)
