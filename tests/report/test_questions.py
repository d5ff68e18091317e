"""Ten questions that a report answers, each with few clicks, and hostile texts that stay texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.report.conftest import Page, written
from tests.report.hostile import TEXTS
from tests.report.projects import Project, record
from tests.waiting import wait_until

Records = tuple[Path, Sequence[dict[str, Any]]]


def tick(page: Page, place: int) -> None:
    page.js("moveCursor(arguments[0])", place)  # scrolls there
    page.click(f"#runs tr[aria-rowindex='{place + 2}'] input")


def test_which_run_and_checkpoint_is_best(page: Page) -> None:
    assert "lowest val_loss" in page.text("#answer")
    assert "at step" in page.text("#answer")
    assert "★" in page.row(0).text
    assert page.clicks == 0


def test_what_differs(page: Page) -> None:
    shown = page.js(
        "return [...document.querySelectorAll('#runs th[data-name^=params]')].map(cell => cell.dataset.name)"
    )
    assert shown == ["params.optimizer.lr", "params.width", "params.seed"]
    assert "optimizer.name adam" in page.text(".same")
    assert page.clicks == 0


def test_which_param_matters(page: Page) -> None:
    assert page.text("#importance li").startswith("optimizer.lr")
    assert page.clicks == 0


def test_does_it_overfit(page: Page) -> None:
    """The curves of the best run are there already; one click adds those of another."""
    assert "train_loss" in page.text(".main-chart .legend")
    tick(page, 5)
    legend = page.text(".main-chart .legend")
    assert legend.count("train_loss") == legend.count("val_loss") == 2
    assert page.clicks == 1


def test_what_runs_was_lost_or_failed_and_why(page: Page, sweep_records: Records) -> None:
    assert {"1 running", "1 failed", "1 lost"} <= set(page.text(".chips").split("\n"))
    row = page.find(f"tr[data-id='{sweep_records[1][10]['id']}']")
    assert "failed" in row.text
    assert "ValueError: the loss" in row.text
    assert page.clicks == 0


def test_what_changed_in_the_code(page: Page, sweep_records: Records) -> None:
    """Two ticks and a key."""
    tick(page, 0)
    tick(page, 23)
    assert "Code differs: train.py" in page.text("#tray")
    page.keys("d")
    wait_until(lambda: "LR =" in page.text("#panel .diff"))
    removed, added = page.text("#panel tr.removed"), page.text("#panel tr.added")
    assert "LR = 0.01" in removed
    assert "LR = " in added
    assert "model.py" not in page.text("#panel .code")
    assert page.clicks == 2


def test_where_and_with_what_did_it_run(page: Page, sweep_records: Records) -> None:
    run = sweep_records[1][10]
    page.click(page.find(f"tr[data-id='{run['id']}'] td.status"))
    shown = page.text("#panel")
    for text in (
        "gpu-2",
        "johanna",
        "train.py --seed 10",
        "3.11.7",
        "1 Python package",
        "ValueError: the loss is NaN",
        run["id"],
    ):
        assert text in shown
    assert page.clicks == 1


def test_is_it_real_or_the_seed(page: Page) -> None:
    page.click("#group")
    assert "n = 6" in page.text("#runs tbody")
    assert "The ranges do not overlap." in page.text("#answer")
    assert page.js("return charts[0].plot.bands.length") == 4
    assert page.clicks == 1


def test_what_happened_at_a_step(page: Page) -> None:
    """A click on a chart, or only the pointer there."""
    page.click(".main-chart .u-over")
    wait_until(lambda: page.text(".main-chart .at").startswith("step "))
    step = int(page.text(".main-chart .at").removeprefix("step "))
    expected = page.js("return short(curveOf('val_loss', view.best).ys[arguments[0]])", step - 1)
    assert expected in page.text(".main-chart .legend")
    assert page.clicks == 1


def test_how_to_get_it_back(page: Page, sweep_records: Records) -> None:
    origin = {"origin": page.path.as_uri(), "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    page.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": origin["permissions"]})
    page.click("#answer .copy-command")
    wait_until(lambda: "keepsake checkout" in page.text("#toast"))
    assert page.text("#toast") == f"Copied: keepsake checkout {page.ids()[0][:7]}"
    assert page.clicks == 1


# Hostile texts

KINDS = "return [...document.body.querySelectorAll('*')].map(element => element.tagName.toLowerCase())"
SHOW_ALL = """
for (const [place, id] of arguments[0].entries()) {
  set({ open: id, compare: "" });
  if (place % 9 === 0) set({ ticked: joined([id, arguments[0].at(place - 1)]), compare: "1" });
}
const names = joined(["params.value", Object.keys(runs[1].params)[1], "params.value"]);
set({ columns: joined(allColumns('').filter(column => !column.shown).map(column => column.name)), scatter: names });
set({ sort: "params.value", filter: conditionText("params.value", "!=", runs[1].params.value) });
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A project in which every text of every kind is hostile, and the IDs of its runs."""
    project = Project(tmp_path_factory.mktemp("hostile"))
    ids = []
    for number, text in enumerate(TEXTS):
        safe = text.encode("utf-8", "replace").decode()[:2000]
        metrics = [
            {"val_loss": number, text[:100]: number, "text": text},
            {"val_loss": number + 1, text[:100]: 2, "text": text},
        ]
        names = ["user", "host", "command", "python_version", "error", "end_reason", "traceback", "name", "notes"]
        fields: dict[str, Any] = dict.fromkeys(names, text)
        run = record(
            number,
            {"value": text, text[:100]: 1, "list": [text]},
            metrics,
            **fields,
            tags=[text],
            python_packages={text[:100]: text},
            path=".",
        )
        for checkpoint in run["checkpoints"]:
            checkpoint["primary_metric"] = {"name": "val_loss", "goal": "minimize"}
        ids.append(run["id"])
        project.add(run)
        project.save(run["id"], {"train.py": safe.encode(), f"x{number}.py": b"pass"})
    return project.directory, ids


def test_hostile_texts_stay_texts(page: Page, hostile: tuple[Path, list[str]]) -> None:
    directory, ids = hostile
    other = Page(page.driver, written(directory, title=TEXTS[1]))
    other.open()
    other.js(SHOW_ALL, ids)
    wait_until(lambda: "train.py" in other.text("#panel .code"))
    other.state(group="seed", filter="")
    found = set(other.js(KINDS))
    assert not found & {"iframe", "img", "base", "meta", "link", "style", "object", "embed", "title", "textarea"}
    assert other.js("return document.querySelectorAll('svg:not(.drawing svg)').length") == 0
    assert other.js("return document.querySelectorAll('script').length") <= 6
    assert other.js("return window.harmed") is None
    assert other.js("return document.title").endswith("Keepsake")
    assert other.errors() == []


def test_hostile_texts_are_shown_with_their_controls_escaped(page: Page, hostile: tuple[Path, list[str]]) -> None:
    other = Page(page.driver, written(hostile[0], "again.html", code=False))
    other.open()
    id = hostile[1][TEXTS.index("\u202egnp.exe\u202c")]
    other.state(open=id)
    assert "\\u202egnp.exe" in other.text("#panel")
    assert not any(character in other.js("return document.body.innerText") for character in "\u202e\u2066\x1b\x9b")
    csv = other.js("return csvText().toWellFormed()")
    assert "'=cmd" in csv
    assert ",=cmd" not in csv
