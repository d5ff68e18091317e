"""What a notebook shows of experiments and checkpoints: complete, short, and harmless whatever was recorded."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Sequence
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import keepsake
from keepsake.checkpoint import Checkpoint, CheckpointList, PrimaryMetric
from keepsake.collection import ExperimentList
from keepsake.exceptions import ReadError
from keepsake.experiment import Experiment
from keepsake.project import Project
from keepsake.repository.view import View

MINIMIZE = PrimaryMetric(name="loss", goal="minimize")
START = datetime(2024, 5, 1, 12, 0, 0)
TAGS = {"b", "details", "div", "p", "span", "style", "summary", "table", "tbody", "td", "th", "thead", "tr"}
ATTRIBUTES = {"class", "colspan", "title"}


class Page(HTMLParser):
    """HTML as a person sees it: its text, its tables as rows of cells, the class of each row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.tables: list[list[list[str]]] = []
        self.tooltips: list[str] = []
        self.kinds: list[tuple[str, str]] = []  # tag, class
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.tooltips += [value for name, value in attrs if name == "title" and value]
        self.kinds += [(tag, value) for name, value in attrs if name == "class" and value]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


@pytest.fixture
def project(tmp_path: Any) -> Project:
    return Project(repository=f"file://{tmp_path}/repo", directory=tmp_path)


def make(
    project: Project,
    number: int = 0,
    losses: Sequence[Any] = (),
    params: dict[str, Any] | None = None,
    primary: PrimaryMetric | None = MINIMIZE,
    **fields: Any,
) -> Experiment:
    """An experiment whose ID is made of one digit, with a checkpoint for each loss."""
    identity = f"{number:x}" * 64
    checkpoints = CheckpointList(
        Checkpoint(f"{number:x}{step:063x}"[::-1], START + timedelta(minutes=step), None, step, {"loss": loss}, primary)
        for step, loss in enumerate(losses)
    )
    created = START + timedelta(hours=number)
    fields = {"keepsake_version": "1.0.0", "params": params, "checkpoints": checkpoints, **fields}
    experiment = Experiment(project, identity, created, **fields)
    for checkpoint in checkpoints:
        checkpoint.experiment = experiment
    return experiment


def shown(thing: Any) -> Page:
    return Page(thing._repr_html_())


def test_a_list_shows_what_differs_and_the_best_and_latest_checkpoints(project: Project) -> None:
    experiments = ExperimentList(
        [
            make(project, 1, [0.5, 0.25, 0.75], {"lr": 0.01, "layers": [8, 8], "same": "x"}, host="a", user="kim"),
            make(project, 2, [0.123456789], {"lr": 0.1, "layers": [8], "same": "x"}, host="b", user="kim"),
            make(project, 3, [], {"same": "x"}, host=None, user="kim"),
        ]
    )
    page = shown(experiments)
    groups, header, *rows = page.tables[0]
    assert page.text.startswith("Experiments: 3")
    assert groups == ["", "Params", "Best checkpoint", "Latest checkpoint"]
    assert header == ["Experiment", "Started", "Status", "Host", "layers", "lr", *("ID", "Step", "loss") * 2]
    assert [row[:6] for row in rows] == [
        ["1111111", "2024-05-01 13:00:00", "stopped", "a", "[8,8]", "0.01"],
        ["2222222", "2024-05-01 14:00:00", "stopped", "b", "[8]", "0.1"],
        ["3333333", "2024-05-01 15:00:00", "stopped", "", "", ""],
    ]
    assert [row[6:] for row in rows] == [
        ["1000000", "1", "0.25", "2000000", "2", "0.75"],
        ["0000000", "0", "0.12346", "0000000", "0", "0.12346"],
        ["", "", "", "", "", ""],
    ]
    assert page.tooltips == ["0.123456789", "0.123456789"]


@pytest.mark.parametrize(
    ("first", "second", "differ"), [(1, 1.0, False), (1, True, True), (1, "1", True), (0, None, True)]
)
def test_params_differ_as_people_mean_it(project: Project, first: Any, second: Any, differ: bool) -> None:
    experiments = ExperimentList([make(project, 1, params={"p": first}), make(project, 2, params={"p": second})])
    assert ("p" in shown(experiments).tables[0][1]) is differ


def test_nan_is_the_same_as_nan(project: Project) -> None:
    experiments = ExperimentList(make(project, number, params={"p": math.nan}) for number in (1, 2))
    assert "p" not in shown(experiments).text.split()


def test_a_param_that_one_lacks_does_not_differ_by_that(project: Project) -> None:
    experiments = [make(project, number, params=params) for number, params in enumerate([{"p": 1}, {"p": 1}, None])]
    assert shown(ExperimentList(experiments)).tables[0][0] == ["", "Latest checkpoint"]


def test_all_params_of_a_single_experiment_are_shown(project: Project) -> None:
    header = shown(ExperimentList([make(project, 1, params={"b": 1, "a": 2})])).tables[0][1]
    assert header[3:5] == ["a", "b"]


def test_without_a_primary_metric_there_is_no_best_but_all_metrics(project: Project) -> None:
    page = shown(ExperimentList([make(project, 1, [0.5, 0.25], primary=None)]))
    assert page.tables[0][:2] == [["", "Latest checkpoint"], ["Experiment", "Started", "Status", "ID", "Step", "loss"]]
    assert page.tables[0][2][3:] == ["1000000", "1", "0.25"]


def test_the_metrics_are_the_primary_ones_of_the_best_checkpoints(project: Project) -> None:
    experiment = make(project, 1, [0.5, 0.25])
    experiment.checkpoints[1].metrics, experiment.checkpoints[1].primary_metric = {"accuracy": 1}, None
    header, row = shown(ExperimentList([experiment])).tables[0][1:]
    assert header[3:] == ["ID", "Step", "loss"] * 2
    assert row[3:] == ["0000000", "0", "0.5", "1000000", "1", ""]


def test_an_empty_list_says_so(project: Project) -> None:
    page = shown(ExperimentList())
    assert page.text == "Experiments: 0"
    assert page.tables == []


def test_status_is_shown_after_one_look_at_the_heartbeats(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    experiments = ExperimentList(make(project, number) for number in (1, 2, 3))
    repository = project.workplace.repository
    repository.ensure()
    repository.heartbeats.beat(experiments[0].id)
    stale = {"experiment_id": experiments[1].id, "last_heartbeat": "2020-01-01T00:00:00Z"}
    repository.storage.put(f"metadata/heartbeats/{experiments[1].id}.json", json.dumps(stale).encode())
    looks: list[View] = []
    heartbeats = View.heartbeats

    def look(view: View) -> dict[str, bool]:
        looks.append(view)
        return heartbeats(view)

    monkeypatch.setattr(View, "heartbeats", look)
    page = shown(experiments)
    assert [row[2] for row in page.tables[0][2:]] == ["running", "lost", "stopped"]
    assert [kind for tag, kind in page.kinds if tag == "td"] == ["running", "lost", "stopped"]
    assert len(looks) == 1
    assert ["Status", "running"] in shown(experiments[0]).tables[0]


def test_a_list_of_several_projects_asks_each_repository(tmp_path: Any) -> None:
    projects = [Project(repository=f"file://{tmp_path}/{name}", directory=tmp_path) for name in "ab"]
    experiments = ExperimentList(make(project, number) for number, project in enumerate(projects, 1))
    projects[0].workplace.repository.ensure()
    projects[0].workplace.repository.heartbeats.beat(experiments[0].id)
    assert [row[2] for row in shown(experiments).tables[0][2:]] == ["running", "stopped"]


def test_an_unreachable_repository_hides_nothing_but_the_status(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: View, *arguments: object) -> None:
        raise ReadError("no network")

    monkeypatch.setattr(View, "heartbeats", fail)
    monkeypatch.setattr(View, "status", fail)
    experiment = make(project, 1, [0.5], {"lr": 1})
    assert shown(ExperimentList([experiment])).tables[0][2][:4] == ["1111111", "2024-05-01 13:00:00", "unknown", "1"]
    page = shown(experiment)
    assert ["Status", "unknown"] in page.tables[0]
    assert page.tables[1] == [["lr", "1"]]


def test_an_experiment_shows_its_fields_params_packages_and_checkpoints(project: Project) -> None:
    experiment = make(
        project,
        1,
        [0.5, 0.25, 0.75],
        {"text": "two\nlines", "tiny": 1.5e-7, "none": None, "nan": math.nan, "nested": {"a": [1, None]}},
        host="gpu-1",
        command="train.py",
        python_version="3.11.2",
        python_packages={"torch": "2.0"},
    )
    page = shown(experiment)
    facts, params, packages, checkpoints = page.tables
    assert page.text.startswith(f"Experiment {experiment.id}")
    assert facts == [
        ["Created", "2024-05-01 13:00:00"],
        ["Status", "stopped"],
        ["Duration", "-1 day, 23:02:00"],
        ["Host", "gpu-1"],
        ["Command", "train.py"],
        ["Python", "3.11.2"],
    ]
    assert params == [
        ["text", "two\nlines"],
        ["tiny", "1.5e-7"],
        ["none", "null"],
        ["nan", "NaN"],
        ["nested.a", "[1,null]"],
    ]
    assert packages == [["torch", "2.0"]]
    assert checkpoints == [
        ["ID", "Step", "Created", "loss"],
        ["0000000", "0", "2024-05-01 12:00:00", "0.5"],
        ["1000000 ★ best", "1", "2024-05-01 12:01:00", "0.25"],
        ["2000000", "2", "2024-05-01 12:02:00", "0.75"],
    ]
    assert [kind for tag, kind in page.kinds if tag == "tr"] == ["best"]


def test_the_primary_metric_comes_first_and_too_many_metrics_are_counted(project: Project) -> None:
    experiment = make(project, 1, [0.5])
    experiment.checkpoints[0].metrics = {f"m{number:02}": number for number in range(20)} | {"zz": 1}
    experiment.checkpoints[0].primary_metric = PrimaryMetric(name="zz", goal="maximize")
    page = shown(experiment)
    assert page.tables[-1][0] == ["ID", "Step", "Created", "zz", *(f"m{number:02}" for number in range(11))]
    assert "Checkpoints: 1 (9 more metrics not shown)" in page.text


def test_too_many_params_that_differ_are_counted(project: Project) -> None:
    experiments = [make(project, n, params={f"p{number:02}": n for number in range(30)}) for n in (1, 2)]
    page = shown(ExperimentList(experiments))
    assert "Experiments: 2 (18 more params that differ not shown)" in page.text
    assert page.tables[0][1][3:-2] == [f"p{number:02}" for number in range(12)]


def test_how_it_ended_is_shown(project: Project) -> None:
    experiment = make(project, 1)
    experiment._record = {"end_reason": "exception: ValueError"}
    assert ["Status", "failed (exception: ValueError)"] in shown(experiment).tables[0]


def test_a_bare_experiment_is_shown(project: Project) -> None:
    page = shown(make(project, 1))
    assert page.text.count("(none)") == 1  # params
    assert page.text.endswith("Checkpoints: 0")


def test_a_checkpoint_shows_its_metrics_and_whether_it_is_the_best(project: Project) -> None:
    experiment = make(project, 1, [0.5, 0.123456789])
    best = shown(experiment.checkpoints[1])
    assert best.text.startswith(f"Checkpoint {experiment.checkpoints[1].id} ★ best")
    assert best.tables == [
        [
            ["Created", "2024-05-01 12:01:00"],
            ["Step", "1"],
            ["Experiment", experiment.id],
            ["Primary metric", "loss (minimize)"],
        ],
        [["loss", "0.123456789"]],
    ]
    assert "best" not in shown(experiment.checkpoints[0]).text


def test_a_checkpoint_of_no_experiment_is_shown() -> None:
    page = shown(Checkpoint("a" * 64, START, path="model.pth"))
    assert page.tables == [[["Created", "2024-05-01 12:00:00"], ["Step", "0"], ["Path", "model.pth"]]]


def test_very_many_experiments_are_cut_to_the_first_and_last(project: Project) -> None:
    one = make(project, 1, [0.5], {"lr": 1})
    other = make(project, 2, [0.25], {"lr": 2})
    html = ExperimentList([one] * 5_000 + [other] * 5_000)._repr_html_()
    rows = [row[0] for row in Page(html).tables[0][2:]]
    assert rows == ["1111111"] * 20 + ["… 9,960 more …"] + ["2222222"] * 20
    assert len(html) < 50_000


def test_very_many_checkpoints_are_cut_to_the_first_the_best_and_the_last(project: Project) -> None:
    losses = [1.0] * 10_000
    losses[5_000] = 0.5
    html = make(project, 1, losses)._repr_html_()
    rows = [row[0] for row in Page(html).tables[-1][1:]]
    assert len(rows) == 43
    assert rows[20] == "… 4,980 more …"
    assert rows[21].endswith(" ★ best")
    assert rows[22] == "… 4,979 more …"
    assert len(html) < 50_000


def test_sixty_are_not_too_many(project: Project) -> None:
    assert len(shown(make(project, 1, [1.0] * 60)).tables[-1]) == 61
    assert len(shown(make(project, 1, [1.0] * 61)).tables[-1]) == 42


def test_huge_values_make_no_huge_page(project: Project) -> None:
    params = {f"p{number}" + "n" * 10_000: "<" * 100_000 for number in range(1_000)}
    experiments = ExperimentList([make(project, 1, params=params), make(project, 2, params=dict.fromkeys(params, ""))])
    assert len(experiments[0]._repr_html_()) < 500_000
    assert len(experiments._repr_html_()) < 50_000
    assert {len(name) for name in shown(experiments).tables[0][1][3:-2]} == {60}


MARKUP = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "&lt;b&gt;",
    "</td></table>",
    "\x1b[31m",
    "\u202e",
]
HOSTILE = st.text() | st.sampled_from(MARKUP)


@given(name=HOSTILE, text=HOSTILE)
def test_whatever_was_recorded_is_shown_as_text(name: str, text: str) -> None:
    """No markup, event handler or control character of a name, value or field gets into the page."""
    project = Project(repository="file:///nowhere", directory="/nowhere")
    fields = {"command": text, "host": text, "user": name, "path": text, "python_packages": {name: text}}
    experiment = make(project, 1, [text], {name: text, "list": [text]}, None, **fields)
    checkpoint = experiment.checkpoints[0]
    checkpoint.metrics = {name: text}
    checkpoint.primary_metric = PrimaryMetric(name=name, goal=text)
    other = make(project, 2, [1], {name: 1})
    for thing in (
        *(experiment, checkpoint, ExperimentList([experiment, other])),
        *(experiment.diff(other), ExperimentList([experiment, other]).compare()),
    ):
        html = thing._repr_html_()
        page = Page(html)
        assert page.tags <= TAGS
        assert page.attributes <= ATTRIBUTES
        assert not set("\0\x08\x1b\x7f\x9b\r\u202e\u2028") & set(html)


def test_what_differs_is_shown(project_directory: Path) -> None:
    """Params, files, and the lines in them, of which none is markup."""
    for number in (1, 2):
        Path("train.py").write_text(f"</pre><script>{number}</script>\x1b\n")
        keepsake.init(path="train.py", params={"lr": number, "same": 1}).stop()
    one, other = keepsake.experiments.list()
    page = Page(one.diff(other)._repr_html_())
    assert page.tags <= TAGS | {"pre"}
    assert ["lr", "1", "2"] in page.tables[0]
    assert "same" not in page.text
    assert "-</pre><script>1</script>\\x1b\n+</pre><script>2</script>\\x1b\n" in page.text
    assert "Files: 1 changed" in page.text
    table = Page(ExperimentList([one, other, one]).compare()._repr_html_()).tables[0]
    assert ["lr", "1", "2", "1"] in table


def test_hostile_text_is_readable(project: Project) -> None:
    page = shown(make(project, 1, params={"<b>": "<i>\x1b[31m</i>"}))
    assert page.tables[1] == [["<b>", "<i>\\x1b[31m</i>"]]


def test_a_page_needs_nothing_from_elsewhere_and_keeps_formulas_out(project: Project) -> None:
    html = ExperimentList([make(project, 1, [0.5], {"formula": r"$\href{javascript:alert(1)}{x}$"})])._repr_html_()
    assert Page(html).tags <= TAGS
    assert not any(word in html for word in ("http", "src=", "url(", "@import", "<script"))
    assert 'class="keepsake tex2jax_ignore mathjax_ignore"' in html


def test_what_was_really_recorded_is_shown(project_directory: Any) -> None:
    """A run that is going on, from the public functions to the page."""
    experiment = keepsake.init(params={"learning_rate": 0.01})
    experiment.checkpoint(metrics={"accuracy": 0.5}, primary_metric=("accuracy", "maximize"))
    row = shown(keepsake.experiments.list()).tables[0][2]
    assert row[0] == experiment.short_id()
    assert row[2:4] == ["running", "0.01"]
    assert row[4:7] == [experiment.checkpoints[0].short_id(), "0", "0.5"]
    experiment.stop()
    assert shown(keepsake.experiments).tables[0][2][2] == "stopped"
    found = pickle.loads(pickle.dumps(keepsake.experiments.get(experiment.id)))
    assert f"{experiment.checkpoints[0].short_id()} ★ best" in shown(found).text
