"""docs/compatibility.md is true: each difference that it lists is shown by a test, and no test knows another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.interop.compare import TOLERATED
from tests.interop.differences import listed

HERE = Path(__file__).parent


def shown() -> Iterator[str]:
    """The IDs that tests are marked with."""
    for path in HERE.glob("test_*.py"):
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(function, ast.FunctionDef) or not function.name.startswith("test_"):
                continue
            for mark in function.decorator_list:
                if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == "shows":
                    yield from _ids(mark, path)


def _ids(mark: ast.Call, path: Path) -> Iterator[str]:
    for argument in mark.args:
        if isinstance(argument, ast.Constant):
            yield str(argument.value)
        else:  # the keys of a table in that file: `*TABLE`
            assert isinstance(argument, ast.Starred)
            assert isinstance(argument.value, ast.Name)
            yield from _keys(argument.value.id, path)


def _keys(name: str, path: Path) -> list[str]:
    for statement in ast.parse(path.read_text("utf-8")).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            assert isinstance(statement, (ast.Assign, ast.AnnAssign))
            assert isinstance(statement.value, ast.Dict)
            return [ast.literal_eval(key) for key in statement.value.keys if key is not None]
    raise AssertionError(f"{path.name} has no table {name}")


def test_every_difference_is_shown() -> None:
    """The page lists every difference that a test shows, too."""
    assert set(shown()) == listed().keys()


def test_what_is_tolerated_is_listed() -> None:
    """A comparison cannot look away from anything else."""
    assert listed().keys() >= TOLERATED


def test_every_row_says_what_both_do_and_why() -> None:
    """No cell is empty."""
    assert listed()
    for identifier, cells in listed().items():
        assert all(len(cell.strip()) > 0 for cell in cells), identifier
