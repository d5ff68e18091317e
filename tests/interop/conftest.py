"""The real Keepsake 0.4.2 on one side, this project on the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.interop.compare")

from tests.interop import oracle, sides  # noqa: E402
from tests.interop.compare import Both  # noqa: E402
from tests.interop.sides import Side  # noqa: E402


@pytest.fixture(scope="session")
def programs() -> Path:
    """Where 0.4.2 is. Where it cannot be installed, what needs it is skipped; in CI that is a failure."""
    try:
        return oracle.install()
    except oracle.CannotInstall as error:
        message = f"Keepsake {oracle.VERSION} cannot be installed here: {error}"
        if oracle.must_be_there():
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture(scope="session")
def original(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """The real Keepsake 0.4.2."""
    side = sides.original(programs, tmp_path_factory.mktemp("home-of-0.4.2"))
    yield side
    side.close()


@pytest.fixture(scope="session")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """This project."""
    side = sides.ours(tmp_path_factory.mktemp("home-of-ours"))
    yield side
    side.close()


@pytest.fixture(scope="session")
def both(original: Side, ours: Side) -> Both:
    """The two, to be compared."""
    return Both(original, ours)


@pytest.fixture(scope="session", params=["by 0.4.2", "by ours"])
def writer(request: pytest.FixtureRequest, original: Side, ours: Side) -> Side:
    """The library that writes; the other one reads. Each in turn."""
    return original if request.param == "by 0.4.2" else ours


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory that is a project with one file; its repository is its folder `.keepsake`."""
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "keepsake.yaml").write_text("repository: file://.keepsake\n")
    (directory / "train.py").write_text("print('training')\n")
    return directory


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "programs" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.interop)
