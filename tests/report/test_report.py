"""Reports as files and objects: what they hold, what they leave out, and that nothing in them can do harm."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import keepsake
from keepsake.cli import cli
from keepsake.exceptions import UnknownName, ValidationError, WriteError
from keepsake.report import code as report_code
from keepsake.report import curves as report_curves
from keepsake.report.page import vendored
from keepsake.report.payload import pack
from keepsake.report.report import Report, make_report
from tests.report.hostile import TEXTS
from tests.report.projects import START, Project, record, sweep

VENDOR = Path(keepsake.__file__).parent / "report/vendor"
SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


@pytest.fixture
def project(project_directory: Path) -> Project:
    return Project(project_directory)


def make(**options: Any) -> Report:
    return make_report(keepsake.experiments.list(), made=START, **options)


def part(html: str, name: str) -> bytes:
    """The data of a page: the texts that its scripts unpack."""
    found = re.search(rf'<script type="text/plain" id="data-{name}">([^<]*)</script>', html)
    assert found, name
    return gzip.decompress(base64.b64decode(found[1]))


def meta(report: Report) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(part(report.html, "meta"))
    return data


def test_the_best_run_comes_first(project: Project) -> None:
    sweep(project, 6)
    runs = meta(make())["runs"]
    values = [run["best"]["metrics"]["val_loss"] for run in runs]
    assert values == sorted(values)
    assert runs[0]["params"] == {
        "optimizer.name": "adam",
        "optimizer.lr": 0.01,
        "width": 64,
        "seed": 0,
        "batch_size": 32,
    }


def test_params_are_known_by_what_tells_them_apart(project: Project) -> None:
    project.add(
        record(1, {"optimizer": {"name": "adam", "lr": 0.1}, "seed": 1, "epochs": 9}, []),
        record(2, {"optimizer": {"name": "adam", "lr": 0.2}, "seed": 2, "epochs": 9, "wd": 0}, []),
    )
    params = meta(make())["params"]
    assert {name: each["short"] for name, each in params.items()} == {
        "optimizer.name": "optimizer",
        "optimizer.lr": "lr",
        "seed": "seed",
        "epochs": "epochs",
        "wd": "wd",
    }
    assert {name for name, each in params.items() if each["differs"]} == {"optimizer.lr", "seed", "wd"}
    assert [name for name, each in params.items() if each["seed"]] == ["seed"]


def test_curves_have_their_steps_and_times(project: Project) -> None:
    project.add(record(1, {}, [{"val_loss": 1.0, "often": 5}, {"often": 6}, {"val_loss": "[NaN]", "often": "text"}]))
    curves = meta(make())["curves"]
    (_, steps, times), (_, often, _) = curves["index"]["val_loss"][0], curves["index"]["often"][0]
    assert curves["steps"][steps] == [1, 2, 1]
    assert curves["steps"][often] == [1, 1, 1]
    assert curves["times"][times] == [0, 1.0, 1, 3.0]
    assert curves["points"] is None


def test_the_same_runs_make_the_same_page(project: Project) -> None:
    sweep(project, 3)
    assert make().html == make().html


def test_the_policy_allows_the_scripts_of_the_page_alone(project: Project) -> None:
    sweep(project, 1)
    html = make().html
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1]
    texts = [*SCRIPT.findall(html), *(part(html, name).decode() for name in ("uplot", "diff", "app"))]
    assert len(texts) == 4
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts}
    assert set(re.findall(r"'sha256-([^']*)'", policy[1].split("style-src")[0])) == hashes
    (style,) = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy[1].split("style-src")[1]


def test_the_page_names_no_other_file(project: Project) -> None:
    sweep(project, 1)
    outside = re.findall(
        r"(?:src|href|url|action)\s*[=(]\s*[\"']?(?!data:)[\w./:#]", make().html.split("<noscript>")[0]
    )
    assert outside == []


def test_hostile_texts_are_inert_in_the_preview_and_the_data(project: Project) -> None:
    params = {f"p{number} {text[:50]}": text for number, text in enumerate(TEXTS)}
    run = record(1, params, [{"val_loss": 1.0, TEXTS[1]: 2.0}], user=TEXTS[0], command=TEXTS[1], host=TEXTS[5])
    project.add(run, record(2, {}, [], error=TEXTS[1], end_reason=TEXTS[1], name=TEXTS[0], tags=TEXTS[:3]))
    report = make(title=TEXTS[1])
    before_data, _, after_data = report.html.partition('<script type="text/plain"')
    assert "harmed" not in after_data
    assert not re.search(
        r"<(?!/?(?:html|head|meta|title|link|style|body|main|h1|svg|polyline|table|thead|tbody|tr|th|td|noscript|p|!doctype)\b)\w",
        before_data,
    )
    assert report.html.count("<script") == 7
    assert len(report.html) < 400_000
    assert meta(report)["runs"][0]["params"][f"p0 {TEXTS[0]}"[: len(f"p0 {TEXTS[0]}")]] == TEXTS[0]


def test_without_a_script_the_first_rows_and_a_chart_are_there(project: Project) -> None:
    sweep(project, 24, code=False)
    shown = make().html.split("<noscript>")[0]
    assert shown.count("<tr>") == 21
    assert "And 4 more." in shown
    assert shown.count("<polyline") == 24


def test_much_is_reduced_and_the_page_says_so(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_curves, "_MOST_CHARACTERS", 3 * 3 * 100)
    monkeypatch.setattr(report_curves, "_cost", lambda runs, points: 1.0)
    sweep(project, 3, 250, code=False)
    report = make()
    assert meta(report)["curves"]["points"] == 100
    assert "reduced to 100 points" in " ".join(report.left_out)
    assert report.left_out == tuple(meta(report)["notes"])
    assert len(part(report.html, "curves")) == 3 * 3 * 3 * 100


def test_the_curves_of_the_worst_runs_are_left_out_last(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_curves, "_MOST_CHARACTERS", 200)
    monkeypatch.setattr(report_curves, "_cost", lambda runs, points: 1.0)
    sweep(project, 4, code=False)
    report = make()
    assert "The last 2 runs have no curves" in " ".join(report.left_out)
    assert [run for run, _, _ in meta(report)["curves"]["index"]["val_loss"]] == [0, 1]


@pytest.mark.parametrize("noise", [0.01, 1.0])
def test_curves_stay_small_however_noisy_they_are(monkeypatch: pytest.MonkeyPatch, noise: float) -> None:
    monkeypatch.setattr(report_curves, "_MOST_CHARACTERS", 60_000)
    rng = random.Random(1)

    def run() -> list[dict[str, Any]]:
        losses = [1 / (1 + step) + noise * rng.random() for step in range(1200)]
        created = "2026-01-01T00:00:00Z"
        return [{"step": step, "created": created, "metrics": {"loss": loss}} for step, loss in enumerate(losses)]

    runs = [(1.8e9, run()) for _ in range(30)]
    curves = report_curves.collect_curves(runs, None, None, lambda _: None)
    assert curves.points
    assert curves.without == 0
    assert len(pack(curves.data)) <= 60_000 * 1.05


def test_points_and_metrics_can_be_chosen(project: Project) -> None:
    sweep(project, 2, code=False)
    curves = meta(make(points=10, metrics=["accuracy"]))["curves"]
    assert list(curves["index"]) == ["accuracy"]
    assert curves["points"] == 10
    with pytest.raises(ValidationError, match="1 points"):
        make(points=1)
    with pytest.raises(UnknownName, match=r'"acuracy".*"accuracy"'):
        make(metrics=["acuracy"])


# Code


def files(report: Report, run: int) -> dict[str, tuple[int, str | None]]:
    """Name → size and text of the files of a run."""
    listed = meta(report)["code"]
    data, contents = part(report.html, "code"), []
    for length in listed["lengths"]:
        contents.append(data[:length].decode())
        data = data[length:]
    encoded, numbers = listed["runs"][run], []
    for place, value in enumerate(encoded):
        if place == 0:
            numbers.append(value)
        elif place % 2:
            numbers += [numbers[-1] + value * (count + 1) for count in range(encoded[place + 1])]
    rows = [listed["files"][number] for number in numbers]
    return {name: (size, None if content is None else contents[content]) for name, size, content, _ in rows}


def test_each_version_of_a_file_is_in_the_page_once(project: Project) -> None:
    sweep(project, 6)
    report = make()
    first, last = files(report, 0), files(report, 5)
    assert set(first) == {"train.py", "model.py", "icon.png"}
    assert first["train.py"][1] != last["train.py"][1]
    assert first["model.py"] == last["model.py"] == (220, "LAYERS = 3\n" * 20)
    assert first["icon.png"] == (5, None)
    assert len(meta(report)["code"]["lengths"]) == 3


def test_a_run_without_code_says_why(project: Project) -> None:
    project.add(record(1, {}, []), record(2, {}, [], path="."))
    later, earlier = meta(make())["code"]["runs"]
    assert earlier == "The run saved no files when it began."
    assert "not in the repository" in later


def test_code_that_takes_too_much_is_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_code, "MAX_CODE", 50)
    sweep(project, 2)
    report = make()
    assert "The text of train.py is left out" in " ".join(report.left_out)
    assert files(report, 0)["train.py"][1] is None
    assert files(report, 0)["model.py"][1]


def test_large_files_are_named_only(project: Project) -> None:
    run = record(1, {}, [], path=".")
    project.add(run)
    project.save(run["id"], {"data.csv": b"1,2\n" * 100_000, "a.py": b"pass\n"})
    assert files(make(), 0) == {"data.csv": (400_000, None), "a.py": (5, "pass\n")}


def test_code_can_be_left_out(project: Project) -> None:
    sweep(project, 2)
    report = make(code=False)
    assert meta(report)["code"] is None
    assert 'id="data-code"' not in report.html
    assert report.left_out == ("The code of the runs was left out on request.",)


def test_archives_of_0_4_2_have_code_too() -> None:
    repository = Path(__file__).parents[1] / "data/keepsake-0.4.2"
    report = make_report(keepsake.Project(directory=repository).experiments.list(), made=START)
    listed = meta(report)["code"]
    assert listed["lengths"]
    assert all(isinstance(run, list) for run in listed["runs"] if run != "The run saved no files when it began.")


# The library and the command line


def test_a_notebook_shows_it_in_a_frame(project: Project) -> None:
    sweep(project, 1)
    shown = keepsake.experiments.report()._repr_html_()
    assert shown.startswith('<iframe sandbox="allow-scripts" ')
    assert shown.count("<") == 2


def test_it_is_written_whole_or_not_at_all(project: Project, tmp_path: Path) -> None:
    sweep(project, 2)
    target = tmp_path / "report.html"
    report = keepsake.experiments.list().report(target)
    assert target.read_text("utf-8") == report.html
    assert repr(report) == "Report(runs=2, left_out=())"
    with pytest.raises(WriteError, match="Name another file"):
        report.save(tmp_path / "missing" / "report.html")
    with pytest.raises(WriteError, match=r"Cannot write the report to \.: "):
        report.save(".")


def test_the_command_writes_the_runs_that_match(project: Project) -> None:
    sweep(project, 6)
    done = CliRunner().invoke(cli, ["report", "seed = 1", "-o", "some.html"])
    assert done.exit_code == 0, done.output
    assert "Wrote some.html: 2 experiments" in done.output
    assert Path("some.html").read_text("utf-8").split("<noscript>")[0].count("<tr>") == 3
    done = CliRunner().invoke(cli, ["report", "seed = 1", "-f", "width = 64", "--filter", "seed = 2"])
    assert "0 experiments" in done.output, done.output


def test_no_run_makes_a_page_too(project: Project) -> None:
    done = CliRunner().invoke(cli, ["report"])
    assert done.exit_code == 0, done.output
    assert "0 experiments" in done.output


# What is vendored


def test_the_libraries_are_what_vendor_json_says() -> None:
    """`make vendor` fetches them again, and checks what npm's registry publishes of them."""
    files = {name: file for package in vendored() for name, file in package["files"].items()}
    assert {path.name for path in VENDOR.iterdir()} == {*files, "vendor.json"}
    for name, file in files.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == file["sha256"], name


def test_the_page_holds_the_licences(project: Project) -> None:
    footer = make().html.partition('<footer id="foot">')[2].partition("</footer>")[0]
    assert "uplot 1.6" in footer
    assert "Leon Sorokin" in footer
    assert "Kevin Decker" in footer


def test_a_metric_in_a_dict_has_a_curve_of_its_own(project: Project) -> None:
    rows: list[dict[str, Any]] = [{"acc": {"top1": step / 10, "by": {"class": step}}, "loss": 1.0} for step in range(3)]
    project.add(record(1, {}, [*rows, {"acc": 0.5}, {"acc": {"top1": "[NaN]"}}]))
    index = meta(make())["curves"]["index"]
    assert sorted(index) == ["acc", "acc.by.class", "acc.top1", "loss"]
    assert list(meta(make(metrics=["acc.top1"]))["curves"]["index"]) == ["acc.top1"]
    with pytest.raises(UnknownName, match=r'Did you mean "acc\.top1"'):
        make(metrics=["acc.top2"])


def test_values_that_no_version_writes_do_not_break_the_page(project: Project) -> None:
    """Such as those of a forged record, and integers of more than 308 digits."""
    packages = {"torch": float("nan"), "numpy": ["1"], "jax": {"a": 1}}
    forged = record(1, {}, [{"val_loss": 10**400}, {"val_loss": 2}], python_packages=packages)
    forged["checkpoints"][0]["primary_metric"] = {"name": "val_loss", "goal": float("nan")}
    project.add(forged)
    data = meta(make())
    assert data["packages"] == [{"jax": "{'a': 1}", "numpy": "['1']", "torch": "nan"}]
    assert data["primary"] == {"name": "val_loss", "goal": ""}
