"""SQLite databases of other tools, opened so that nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from keepsake.exceptions import ReadError

if TYPE_CHECKING:
    import sqlite3

_MAGIC = b"SQLite format 3\0"


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database to read it. Raises ReadError if it is damaged, here and while it is read."""
    import sqlite3

    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.text_factory = lambda data: data.decode("utf-8", "replace")
            yield connection
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise ReadError(f"Another process writes to the database {path}. Try again when it is done.") from error
        raise ReadError(f"The database {path} cannot be read: {error}. Check its permissions and version.") from error
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise ReadError(f"The database {path} is damaged or of an unknown version: {error}. Restore it.") from error


def has_tables(path: Path, names: set[str]) -> bool:
    """Whether a file is a database that has these tables."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return False
    with opened(path) as connection:
        return names <= tables(connection)


def tables(connection: sqlite3.Connection) -> set[str]:
    """Return the names of the tables. Views are left out, because one that a stranger made may never end."""
    return {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}


def count_rows(connection: sqlite3.Connection, counted: Mapping[str, str], counts: Counter[str]) -> None:
    """Add to `counts` how many rows the tables in `counted` have (name → what a row is), those that are there."""
    for table in tables(connection) & counted.keys():
        counts[counted[table]] += connection.execute(f"select count(*) from {table}").fetchone()[0]  # noqa: S608


def files_of(path: Path) -> list[Path]:
    """Return the files that hold a database: its own, and those with what was written last."""
    return [path, *(path.with_name(path.name + ending) for ending in ("-wal", "-journal"))]
