"""One repository, two readers: whatever is in it, both command lines say the same of it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from tests.interop import records
from tests.interop.compare import Both, lines
from tests.interop.generate import Generator
from tests.interop.records import Record

SEEDS = range(6)


def made_up(project: Path, seed: int) -> tuple[Generator, list[Record]]:
    """A repository full of made-up experiments, some of them running."""
    generator = Generator(seed)
    found = generator.records(8)
    records.write(project, *found)
    for record in found[:3]:
        records.write_heartbeat(project, record["id"], generator.random.choice([2, 200]))
    return generator, found


@pytest.mark.parametrize("seed", SEEDS)
def test_ls_and_ps_in_all_forms(both: Both, project: Path, seed: int) -> None:
    """Tables, JSON and IDs alone."""
    made_up(project, seed)
    for command, options in itertools.product(("ls", "list", "ps", "processes"), ([], ["--all"], ["-q"])):
        both.agree(command, *options, cwd=project)
    shown = both.agree("ls", "--json", cwd=project, tolerating=("ls-json-null", "added-fields"))
    assert len(json.loads(shown.stdout)) == 8
    both.agree("ps", "--json", cwd=project, tolerating=("ls-json-null", "added-fields"))


@pytest.mark.parametrize("seed", SEEDS)
def test_filters(both: Both, project: Path, seed: int) -> None:
    """Each alone, and two at once. One experiment has every name, as an unknown one is an error here."""
    generator, _ = made_up(project, seed)
    params = {**dict.fromkeys(("lr", "with blank", "accuracy", "loss"), 0.25), "layers": 3, "opt": "adam"}
    records.write(project, records.experiment(1, params={**params, "debug": True, "nothing": None}))
    filters = generator.filters()
    for text in filters:
        both.agree("ls", "-q", "--filter", text, cwd=project)
    both.agree("ls", "-f", filters[0], "-f", filters[4], cwd=project)
    both.agree("ps", "-q", "-f", filters[1], "-f", "status = stopped", cwd=project)
    both.agree("ls", "-q", "-f", "", cwd=project)


DATES = [
    *["2021-02-04", "2021-02-04 09:00", "2021-02-04 09:00:30", "2021-02-04T09:00:00Z", "2021-02-04T09:00:00+02:00"],
    *["02/04/2021", "2021/02/04", "20210204", "2021-02", "2021", "1612396800", "1612396800000"],
    *["Feb 4 2021", "Feb 4, 2021", "4 Feb 2021", "February 4, 2021", "Thu, 04 Feb 2021 09:00:00 GMT"],
]


def test_dates_in_filters(both: Both, project: Path) -> None:
    """In any common form, the month first."""
    moments = ["2020-12-31T23:59:59", "2021-01-20T00:00:00", "2021-02-03T23:59:59", "2021-02-04T00:00:00"]
    moments += [
        "2021-02-04T07:00:00",
        "2021-02-04T09:00:00",
        "2021-02-04T09:00:30",
        "2021-02-05T00:00:00",
        "2021-04-02T12:00:00",
    ]
    records.write(project, *(records.experiment(n, created=f"{moment}Z") for n, moment in enumerate(moments)))
    for date in DATES:
        both.agree("ls", "-q", "-f", f"created >= {date}", cwd=project)
    both.agree("ls", "-q", "-f", "created = 2021-02-04 09:00:30", cwd=project)
    both.agree("ls", "-q", "-f", "started < 2021-02-04", cwd=project)


@pytest.mark.parametrize("seed", SEEDS)
def test_sorting(both: Both, project: Path, seed: int) -> None:
    """The keys are those that every experiment has."""
    generator, found = made_up(project, seed)
    for key in generator.sort_keys(found):
        both.agree("ls", "-q", "--sort", key, cwd=project)


@pytest.mark.parametrize("seed", SEEDS)
def test_show(both: Both, project: Path, seed: int) -> None:
    """Experiments and checkpoints are shown, with few packages."""
    _, found = made_up(project, seed)
    for record in found[:4]:
        both.agree("show", record["id"], cwd=project)
        both.agree("show", "--json", record["id"][:12], cwd=project, tolerating=("ls-json-null",))
        for checkpoint in (record["checkpoints"] or [])[:2]:
            both.agree("show", "--all", checkpoint["id"][:20], cwd=project)
            both.agree("show", "--json", checkpoint["id"], cwd=project, tolerating=("ls-json-null",))


@pytest.mark.parametrize("seed", SEEDS)
def test_diff(both: Both, project: Path, seed: int) -> None:
    """Experiments, checkpoints, one with the other, and a thing with itself are compared."""
    _, found = made_up(project, seed)
    having = [record for record in found if record["checkpoints"]]
    for one, other in itertools.pairwise([*having, having[0]]):
        both.agree("diff", one["id"], other["id"], cwd=project)
        both.agree("diff", one["checkpoints"][-1]["id"], other["id"], cwd=project)
    for checkpoint in having[0]["checkpoints"]:
        both.agree("diff", having[0]["checkpoints"][0]["id"], checkpoint["id"], cwd=project)
    both.agree("diff", having[0]["id"], having[0]["id"], cwd=project)


PACKAGES = {f"package-{number}": f"{number}.0" for number in range(8)}


@pytest.mark.parametrize("packages", [PACKAGES, {**PACKAGES, "torch": "1.9", "numpy": "1.20"}], ids=["any", "known"])
def test_show_with_many_packages(both: Both, project: Path, packages: dict[str, str]) -> None:
    """The well-known ones among more than five, or else the first five; all of them on request."""
    records.write(project, records.experiment(1, records.checkpoint(2), python_packages=packages, params={"a": 1}))
    for identifier in ("e0000001", "c0000002"):
        both.agree("show", identifier, cwd=project, tolerating=("show-alignment",))
        both.agree("show", identifier, "--all", cwd=project, tolerating=("show-alignment",))


def test_values_that_are_not_finite(both: Both, project: Path) -> None:
    """In the tables of `ls` and `show`; infinities as the best, too."""
    for number, value in enumerate(["[NaN]", "[+Infinity]", "[-Infinity]"]):
        primary = None if value == "[NaN]" else {"name": "loss", "goal": "minimize"}
        checkpoints = [
            records.checkpoint(10 * number + place, metrics={"loss": loss}, primary_metric=primary)
            for place, loss in enumerate([1.5, value, 0.5])
        ]
        records.write(project, records.experiment(number, *checkpoints, params={"x": value}))
    both.agree("ls", "--all", cwd=project)
    both.agree("ls", "-q", "-f", "x = null", cwd=project)
    for number in range(3):
        theirs, ours = both.run("show", f"e{number:07d}", cwd=project)
        assert _tables(ours.stdout) == _tables(theirs.stdout)


def _tables(text: str) -> list[str]:
    return lines(text)[lines(text).index("Checkpoints") :]


def test_the_best_of_many_checkpoints(both: Both, project: Path) -> None:
    """Greatest or smallest, ints and floats."""
    for number, goal in enumerate(["maximize", "minimize"]):
        metrics = [records.metric(((place * 7) % 30) / 4, goal=goal) for place in range(30)]
        made = [records.checkpoint(100 * number + place, **each) for place, each in enumerate(metrics)]
        records.write(project, records.experiment(number, *made))
        both.agree("show", f"e{number:07d}", cwd=project)
    both.agree("ls", cwd=project)


@pytest.mark.parametrize("text", ["null", "None", "nULL", "[nan]", "NaN", "1", "true", "[1]", ""])
def test_strings_that_look_like_something_else(both: Both, project: Path, text: str) -> None:
    """Read as the same thing, wherever they are shown or compared."""
    records.write(project, records.experiment(1, params={"p": text, "q": 1}), records.experiment(2, params={"q": 2}))
    both.agree("ls", "--all", cwd=project)
    both.agree("show", "e0000001", cwd=project)
    both.agree("ls", "-q", "-f", "p = null", cwd=project)
    both.agree("ls", "-q", "-f", "p != null", cwd=project)


@pytest.mark.parametrize(
    "content",
    ["{", '{"id": "e0000002"', "", "[]", '{"id": "e0000002", "created": "yesterday"}', '{"id": 5}', "\0\0\0\0"],
)
def test_an_unreadable_record_hides_no_other(both: Both, project: Path, content: str) -> None:
    """A torn or senseless file is skipped, with exit status 0."""
    records.write(project, records.experiment(1), records.experiment(3))
    (project / ".keepsake/metadata/experiments/e0000002.json").write_text(content)
    done = both.agree("ls", "-q", cwd=project)
    assert done.stdout.split() == ["e0000001", "e0000003"]
    assert "e0000002" in done.stderr


@pytest.mark.parametrize("commands", [["show"], ["diff", "e0000001"], ["checkout"], ["rm", "-f"]], ids=lambda c: c[0])
@pytest.mark.parametrize("identifier", ["0123456", "e000000", "e0000001x"])
def test_unknown_and_ambiguous_ids(both: Both, project: Path, commands: list[str], identifier: str) -> None:
    """Exit status 1, nothing on stdout, nothing touched."""
    records.write(project, records.experiment(1, records.checkpoint(1)), records.experiment(2))
    before = records.keys(project)
    done = both.agree(*commands, identifier, cwd=project)
    assert done.status == 1
    assert identifier in done.stderr
    assert records.keys(project) == before


CONFIGS: list[dict[str, Any]] = [
    {"keepsake.yaml": "repository: file://.keepsake"},
    {"keepsake.yaml": "repository: file://.keepsake/"},
    {"keepsake.yaml": "repository: FILE://.keepsake"},
    {"keepsake.yaml": "repository: 'file://./.keepsake'"},
    {"keepsake.yml": "repository: file://.keepsake"},
    {"replicate.yaml": "repository: file://.keepsake"},
    {"replicate.yml": "storage: file://.keepsake"},
    {"keepsake.yaml": "storage: file://.keepsake"},
    {"keepsake.yaml": "storage: file://.keepsake\nrepository: file://.keepsake"},
    {"keepsake.yaml": "repository: file://.keepsake\nother: 1"},
    {"keepsake.yaml": "repository: .keepsake"},
    {"keepsake.yaml": "repository: ftp://.keepsake"},
    {"keepsake.yaml": "repository: [file://.keepsake]"},
    {"keepsake.yaml": "repository: [file://.keepsake"},
    {"keepsake.yaml": ""},
    {"keepsake.yaml": "repository: file://nothing/there"},
    {"keepsake.yaml": "repository: file://nothing", "replicate.yaml": "repository: file://.keepsake"},
]


@pytest.mark.parametrize("config", CONFIGS, ids=[", ".join(f"{n}={t!r}" for n, t in c.items()) for c in CONFIGS])
def test_configuration(both: Both, project: Path, config: dict[str, str]) -> None:
    """Found here and from a folder below; what is wrong is an error on both sides."""
    (project / "keepsake.yaml").unlink()
    for name, text in config.items():
        (project / name).write_text(text)
    records.write(project, records.experiment(1))
    below = project / "some/where"
    below.mkdir(parents=True)
    for directory in (project, below):
        both.agree("ls", "-q", cwd=directory)


def test_naming_another_repository_or_project(both: Both, project: Path, tmp_path: Path) -> None:
    """-R and -D: a relative URL is relative to the project directory."""
    elsewhere = tmp_path / "elsewhere"
    records.write(project, records.experiment(1))
    records.write(project, records.experiment(2), repository="other")
    records.write(elsewhere, records.experiment(3), repository="other")
    for directory in (project, elsewhere):
        both.agree("ls", "-q", "-R", "file://other", cwd=directory)
        both.agree("ls", "-q", "-R", f"file://{elsewhere}/other", cwd=directory)
        both.agree("ls", "-q", "-D", str(project), cwd=directory)
        both.agree("-D", str(project), "ls", "-q", cwd=directory)
        both.agree("ls", "-q", "-D", str(project), "-R", "file://other", cwd=directory)
        both.agree("ls", "-q", "-D", str(elsewhere), cwd=directory)
        both.agree("show", "e0000002", "--repository", "file://other", cwd=directory)


def test_a_very_old_project_without_configuration(both: Both, tmp_path: Path) -> None:
    """The folder .replicate/storage is the repository."""
    old = records.experiment(1, keepsake_version="", replicate_version="0.3.1")
    records.write(tmp_path, old, repository=".replicate/storage")
    assert both.agree("ls", "-q", cwd=tmp_path).stdout.split() == ["e0000001"]
    both.agree("show", "e0000001", cwd=tmp_path)


def test_an_empty_repository(both: Both, project: Path) -> None:
    """Nothing is listed, and said so on stderr; the JSON is an empty list."""
    for options in ([], ["--all"], ["-q"], ["--json"]):
        assert both.agree("ls", *options, cwd=project).status == 0
        both.agree("ps", *options, cwd=project)


def test_what_is_refused(both: Both, project: Path) -> None:
    """Filters that do not parse, one ID too few."""
    records.write(project, records.experiment(1, params={"lr": 0.1}))
    for text in ("lr", "= 1", "lr ~ 1", "lr 1", "created > soonish"):
        assert both.agree("ls", "--filter", text, cwd=project).status == 1
