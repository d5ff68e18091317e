"""The same promise in the clouds: s3:// and gs://, each against a local server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.interop import clouds, sides
from tests.interop.clouds import Cloud
from tests.interop.compare import Both, check_out, contents, tree
from tests.interop.differences import shows
from tests.interop.generate import Generator
from tests.interop.sides import Side
from tests.interop.test_recording import ask_for_values, ask_libraries, compare_files


class Place(NamedTuple):
    """A cloud, and both sides led to it."""

    cloud: Cloud
    both: Both


@pytest.fixture(scope="module", params=["s3", "gs"])
def place(request: pytest.FixtureRequest, programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Each cloud."""
    with getattr(clouds, request.param)() as cloud:
        home = tmp_path_factory.mktemp("homes")
        original = sides.original(programs, home / "0.4.2", cloud.for_original)
        ours = sides.ours(home / "ours", cloud.for_ours)
        yield Place(cloud, Both(original, ours))
        original.close()
        ours.close()


@pytest.fixture
def root(place: Place, project: Path) -> str:
    """Where in the bucket the project's repository is."""
    name = f"some/{uuid.uuid4()}"
    (project / "keepsake.yaml").write_text(f"repository: {place.cloud.url}/{name}\n")
    return name


@pytest.mark.parametrize("writer", ["0.4.2", "ours"])
def test_made_up_runs(place: Place, project: Path, root: str, tmp_path: Path, writer: str) -> None:
    """Like test_recording.py, without tables, because "2 seconds ago" changes too quickly here."""
    generator = Generator(3)
    files = generator.project(project, 4)
    before = tree(project)
    side = place.both.original if writer == "0.4.2" else place.both.ours
    runs = generator.runs(2, files)
    ids = record(place, root, side, runs=runs, directory=str(project))
    ask_for_values(place.both, project, ids[:1])
    compare_files(place.both, project, tmp_path, ask_libraries(place.both, project, ids), before)
    assert {experiment[0] for experiment in ids} <= {Path(key).stem for key in place.cloud.keys(root)}


def record(place: Place, root: str, side: Side, function: str = "record", **arguments: Any) -> Any:
    """Record with a side; return when all archives are in the bucket."""
    owners = [
        owner
        for made in (*arguments.get("runs", ()), arguments)
        for owner in (made, *made.get("checkpoints", ()))
        if owner.get("path")
    ]
    before = archives(place, root)
    return side.record(function, lambda: archives(place, root) == before + len(owners), **arguments)


def archives(place: Place, root: str) -> int:
    """How many there are in the bucket."""
    return sum(key.endswith(".tar.gz") for key in place.cloud.keys(root))


def run(*losses: float) -> dict[str, Any]:
    primary = ["loss", "minimize"]
    made = [{"path": "train.py", "metrics": {"loss": loss}, "primary_metric": primary} for loss in losses]
    return {"path": "train.py", "params": {"lr": 0.5}, "checkpoints": made}


def test_a_mixed_team(place: Place, project: Path, root: str, tmp_path: Path) -> None:
    """Turns with one experiment; the same objects; what one wrote, the other deletes."""
    original, ours = place.both.original, place.both.ours
    where = {"directory": str(project)}
    first, second = (record(place, root, side, runs=[run(0.9)], **where)[0] for side in (ours, original))
    assert place.cloud.keys(root) == keys_of(*first) | keys_of(*second)
    made = [first[1]]
    for side, loss in ((original, 0.8), (ours, 0.7)):
        (project / "train.py").write_text(f"loss {loss}")
        checkpoints = run(loss)["checkpoints"]
        made += record(place, root, side, "add_checkpoints", experiment=first[0], checkpoints=checkpoints, **where)
    found = place.both.call("got", prefix=first[0], fresh=True, **where)
    assert ([checkpoint["id"] for checkpoint in found["checkpoints"]], found["best"]) == (made, made[2])
    assert contents(check_out(place.both, project, tmp_path / "out", made[1])) == {"train.py": b"loss 0.8"}
    assert original.run("rm", "-f", first[0], cwd=project).status == 0
    assert place.both.agree("ls", "-q", cwd=project).stdout.split() == [second[0]]
    assert ours.run("rm", "-f", second[0], cwd=project).status == 0
    assert place.cloud.keys(root) == {"repository.json"}


def keys_of(experiment: str, *checkpoints: str) -> set[str]:
    archives = {f"experiments/{experiment}.tar.gz", *(f"checkpoints/{checkpoint}.tar.gz" for checkpoint in checkpoints)}
    return {"repository.json", f"metadata/experiments/{experiment}.json", *archives}


@shows("missing-bucket")
def test_missing_bucket(place: Place, project: Path) -> None:
    """A mistyped one. On S3, 0.4.2 makes it."""
    (project / "keepsake.yaml").write_text(f"repository: {place.cloud.url}-mistyped\n")
    ours = place.both.ours.run("ls", "-q", cwd=project)
    assert (ours.status, ours.stdout) == (1, "")
    assert "mistyped" in ours.stderr
    theirs = place.both.original.run("ls", "-q", cwd=project)
    assert (theirs.status, theirs.stdout) == (0, "")
