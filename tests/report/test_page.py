"""The page in a real browser: the table, the filter, choosing, keys, themes, charts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import keepsake
from keepsake.compare.importance import importances
from tests.report.conftest import Page, written
from tests.report.filters import FILTERS
from tests.report.projects import Project, record, sweep
from tests.waiting import wait_until

Records = tuple[Path, Sequence[dict[str, Any]]]
Matching = dict[str, "set[str] | None"]


def best(run: dict[str, Any], metric: str = "val_loss") -> float:
    """The value of a metric in the best checkpoint."""
    checkpoints = run["checkpoints"]
    return float(min(checkpoints, key=lambda each: (each["metrics"]["val_loss"], -each["step"]))["metrics"][metric])


def test_it_makes_no_request_and_breaks_no_rule_of_its_policy(page: Page) -> None:
    page.requests()
    page.open()
    page.state(compare="1", ticked=",".join(page.ids()[:2]))
    page.state(group="seed", x="time", smooth="0.5", logy="1")
    assert page.requests() == [page.path.as_uri()]
    assert page.errors() == []


def test_a_log_axis_that_is_switched_off_before_it_is_drawn_has_an_end(page: Page) -> None:
    """f1 is 0 in a run, which has no place on such an axis."""
    page.state(group="seed", logy="1")
    page.js("resetZoom(); set({...DEFAULTS})")
    assert page.errors() == []


def test_it_opens_on_the_answer(page: Page, sweep_records: Records) -> None:
    expected = min(sweep_records[1], key=best)
    assert page.ids()[0] == expected["id"]
    assert "best" in str(page.row(0).get_attribute("class"))
    assert f"{best(expected):.5g}" in page.text("#answer")
    assert expected["id"][:7] in page.text("#answer")
    assert page.text(".main-chart .legend").startswith(expected["id"][:7])
    assert "batch_size 32" in page.text(".same")


def test_the_curves_are_those_of_the_records(page: Page, sweep_records: Records) -> None:
    for run in sweep_records[1][:3]:
        script = "const c = curveOf('val_loss', byId.get(arguments[0])); return [[...c.xs], [...c.ys]]"
        curve = page.js(script, run["id"])
        assert curve[0] == [each["step"] for each in run["checkpoints"]]
        assert curve[1] == pytest.approx([each["metrics"]["val_loss"] for each in run["checkpoints"]], rel=2e-5)
    page.state(x="relative")
    seconds = page.js("return [...curveOf('val_loss', byId.get(arguments[0])).xs]", run["id"])
    assert seconds == pytest.approx([each["step"] for each in run["checkpoints"]], abs=0.1)


def test_a_click_on_a_heading_sorts(page: Page, sweep_records: Records) -> None:
    heading = "#runs th[data-name='metrics.accuracy']"
    page.click(f"{heading} button")
    assert page.find(heading).get_attribute("aria-sort") == "ascending"
    assert page.ids() == [run["id"] for run in sorted(sweep_records[1], key=lambda run: best(run, "accuracy"))]
    page.click(f"{heading} button")
    assert page.find(heading).get_attribute("aria-sort") == "descending"
    assert page.find("#runs th[data-name='metrics.val_loss']").get_attribute("aria-sort") == "none"


def test_a_heading_keeps_the_focus_when_it_sorts(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    page.click("#runs th[data-name='metrics.accuracy'] button")
    page.keys(Keys.ENTER)
    assert page.js("return state.sort") == "metrics.accuracy-desc"
    page.keys(Keys.ARROW_DOWN)
    assert page.js("return document.activeElement.dataset.id") == page.ids()[0]


def test_several_keys_sort(page: Page, sweep_records: Records) -> None:
    page.state(sort="params.width-desc,params.seed,created-desc")
    expected = sorted(
        sweep_records[1], key=lambda run: (-run["params"]["width"], run["params"]["seed"], -float(run["command"][16:]))
    )
    assert page.ids() == [run["id"] for run in expected]


@pytest.fixture(scope="module")
def matching_in_page(sweep_page: Page) -> Matching:
    """Filter → the IDs of the runs that match in the page; None: it is wrong."""
    script = """
      const ids = text => {
        state.filter = text;
        recompute();
        return view.error ? null : view.runs.map(run => run.id);
      };
      return arguments[0].map(ids);
    """
    found = sweep_page.js(script, FILTERS)
    return {text: None if ids is None else set(ids) for text, ids in zip(FILTERS, found, strict=True)}


@pytest.mark.parametrize("text", FILTERS)
def test_filters_mean_what_they_mean_in_the_library(matching_in_page: Matching, matching: Matching, text: str) -> None:
    assert matching_in_page[text] == matching[text]


def test_a_name_that_no_run_has_is_an_error_with_the_nearest(page: Page) -> None:
    page.click("#filter")
    page.keys("vall_loss < 0.3")
    wait_until(lambda: page.text("#problem") != "")
    assert 'Did you mean "val_loss"?' in page.text("#problem")
    assert page.find("#filter").get_attribute("aria-invalid") == "true"


def test_ticked_runs_get_colours(page: Page) -> None:
    for place in (2, 4):
        page.click(page.row(place).find_element("css selector", "input"))
    assert page.js("return charts[0].lines.filter(line => line.metric === 'val_loss').map(line => line.of.id)") == [
        page.ids()[place] for place in (0, 2, 4)
    ]
    colors = page.js("return charts[0].lines.map(line => line.styles[0].stroke)")
    assert len({colors[place] for place in (0, 2, 4)}) == 3
    assert page.row(2).get_attribute("aria-selected") == "true"


def test_ten_runs_at_most_are_in_colour(page: Page) -> None:
    page.state(ticked=",".join(page.ids()))
    assert page.js("return new Set(charts[0].lines.map(line => line.of.id)).size") == 10
    assert "Ten curves" in page.text("#tray")


def test_all_works_from_the_keyboard(page: Page) -> None:
    from selenium.webdriver.common.keys import Keys

    ids = page.ids()
    page.keys(Keys.ARROW_DOWN)
    page.keys("j")
    page.keys(" ")
    page.keys(Keys.ARROW_DOWN)
    page.keys(" ")
    assert page.js("return list('ticked')") == ids[1:3]
    page.keys("d")
    assert "What differs between 2 runs" in page.text("#panel")
    page.keys(Keys.ESCAPE)
    assert page.js("return document.getElementById('panel').hidden")
    page.keys(Keys.ENTER)
    assert ids[2] in page.text("#panel")
    page.keys(Keys.ESCAPE)
    page.keys("g")
    assert "groups" in page.text("#count")
    page.keys("g")
    page.keys("/")
    page.keys("seed = 1")
    wait_until(lambda: len(page.ids()) == 8)
    page.keys(Keys.ESCAPE)
    page.keys("t")
    assert page.js("return document.documentElement.dataset.theme") == "dark"
    page.keys("?")
    assert page.js("return document.getElementById('help').open")
    page.keys(Keys.ESCAPE)
    page.keys(Keys.END)
    assert page.js("return document.activeElement.getAttribute('aria-rowindex')") == "9"


def brightness(page: Page) -> float:
    found = page.js("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    return float(sum(found[:3]) / 3)


@pytest.mark.parametrize(("preference", "is_bright"), [("light", True), ("dark", False)])
def test_both_themes_follow_the_system_and_the_button(page: Page, preference: str, is_bright: bool) -> None:
    feature = {"features": [{"name": "prefers-color-scheme", "value": preference}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", feature)
    assert (brightness(page) > 128) is is_bright
    page.click("#theme")
    assert (brightness(page) > 128) is not is_bright
    text, ground = (page.js(f"return getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    assert text != ground
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_the_address_keeps_the_view(page: Page) -> None:
    ids = page.ids()
    page.state(
        filter="seed = 1", sort="created-desc", ticked=f"{ids[1]},{ids[2]}", x="relative", smooth="0.4", group="seed"
    )
    fragment = page.js("return location.hash")
    view = page.js("return [state, view.runs.map(run => run.id)]")
    page.open(fragment.removeprefix("#"))
    assert page.js("return [state, view.runs.map(run => run.id)]") == view


ADDRESSES = [
    "%",
    "%E0%A4%A",
    "x=nothing&smooth=abc&theme=<b>&logx=%00&logy=yes",
    "smooth=-1&x=__proto__&theme=constructor",
    "sort=__proto__,constructor-desc,,&filter=__proto__%20%3D%201",
    "filter=((((&group=%ED%A0%80&columns=,,constructor",
    "open=nobody&compare=1&ticked=nobody,__proto__,constructor",
    "scatter=__proto__,constructor,toString&group=seed,seed",
    "scatter=,,,,,,&filter=%22",
    f"filter={'(' * 3000}&sort={'x' * 100_000}",
]


@pytest.mark.parametrize("fragment", ADDRESSES, ids=[address[:20] for address in ADDRESSES])
def test_nonsense_in_the_address_breaks_nothing(page: Page, fragment: str) -> None:
    page.js("location.hash = arguments[0]", fragment)
    page.open(fragment)
    assert len(page.ids()) == 24
    page.state(group="", ticked=",".join(page.ids()[:2]), compare="1")
    page.js("scrollTo(0, 1e5); drawPictures(true)")
    assert "What differs" in page.text("#panel")
    assert page.errors() == []


def test_columns_can_be_chosen(page: Page) -> None:
    names = "return [...document.querySelectorAll('#runs th[data-name]')].map(cell => cell.dataset.name)"
    assert "params.batch_size" not in page.js(names)
    page.click("#columns summary")
    page.click(next(label for label in page.all("#columns label") if label.text == "batch_size"))
    assert "params.batch_size" in page.js(names)


def test_importance_is_that_of_the_library(page: Page, sweep_records: Records) -> None:
    runs = sweep_records[1]
    params = [
        {
            name.removeprefix("optimizer."): value
            for name, value in {**run["params"], **run["params"]["optimizer"]}.items()
            if name != "optimizer"
        }
        for run in runs
    ]
    expected = importances(params, [best(run) for run in runs])
    found = {name.removeprefix("optimizer."): share for name, share in page.js("return importances(runs)")}
    assert found == pytest.approx({name: share for name, share in expected.items() if name in found})
    assert set(found) == {"lr", "width", "seed"}
    assert page.text("#importance li").startswith("optimizer.lr")


def test_smoothing_keeps_the_original_behind(page: Page) -> None:
    page.state(smooth="0.8")
    data, widths = page.js(
        "return [charts[0].plot.data.slice(1, 3), charts[0].plot.series.slice(1, 3).map(s => s.alpha)]"
    )
    assert widths == [0.3, 1]
    assert data[0][-1] != data[1][-1]
    average = total = 0.0
    for value, smooth in zip(data[0], data[1], strict=True):
        average, total = average * 0.8 + value * 0.2, total * 0.8 + 0.2
        assert smooth == pytest.approx(average / total)


@pytest.mark.parametrize(
    "view", [{"logx": "1"}, {"logy": "1"}, {"x": "time"}, {"x": "relative", "logx": "1", "logy": "1"}]
)
def test_axes_change(page: Page, view: dict[str, str]) -> None:
    page.state(**view)
    scales = page.js(
        "return ['x', 'y'].map(key => charts[0].plot.scales[key]).map(({min, max, distr}) => [min, max, distr])"
    )
    assert [distr == 3 for _, _, distr in scales] == ["logx" in view, "logy" in view]
    assert all(math.isfinite(low) and low < high for low, high, _ in scales)
    assert page.errors() == []


def test_a_drag_zooms_all_charts(page: Page) -> None:
    from selenium.webdriver import ActionChains

    page.state(ticked=page.ids()[3])
    over = page.find(".main-chart .u-over")
    page.js("arguments[0].scrollIntoView({block: 'center'})", over)
    ActionChains(page.driver).move_to_element_with_offset(over, -100, 0).click_and_hold().move_by_offset(
        150, 5
    ).release().perform()
    scales = page.js(
        "return charts.filter(chart => chart.plot).map(({plot}) => [plot.scales.x.min, plot.scales.x.max])"
    )
    assert len(scales) == page.js("return charts.length")
    for low, high in scales:
        assert 1 < low < high < 30
    page.state(smooth="0.5")
    assert page.js("return charts[0].plot.scales.x.min") == pytest.approx(scales[0][0])
    page.keys("z")
    assert page.js("return [charts[0].plot.scales.x.min, charts[0].plot.scales.x.max]") == [1, 30]


def test_a_brush_writes_a_filter(page: Page) -> None:
    from selenium.webdriver import ActionChains

    drawing = page.find("#parallel .drawing")
    page.js("arguments[0].scrollIntoView({block: 'center'})", drawing)
    wait_until(lambda: page.js("return axes.length") > 0)
    x, height, width = page.js(
        "return [axes.find(a => a.name === 'metrics.val_loss').x, arguments[0].clientHeight, arguments[0].clientWidth]",
        drawing,
    )
    chain = ActionChains(page.driver).move_to_element_with_offset(drawing, x - width / 2, height / 2 - 10)
    chain.click_and_hold().move_by_offset(0, -60).release().perform()
    assert page.js("return state.filter").startswith("metrics.val_loss >= ")
    assert 0 < len(page.ids()) < 24
    assert page.text("#problem") == ""
    ActionChains(page.driver).move_to_element_with_offset(drawing, x - width / 2, 0).click().perform()
    assert page.js("return state.filter") == ""


def test_a_point_tells_its_run_and_opens_it(page: Page) -> None:
    from selenium.webdriver import ActionChains

    page.js("document.getElementById('scatter').scrollIntoView({block: 'center'})")
    wait_until(lambda: len(page.all("#scatter circle")) == 24)
    best_id = page.ids()[0]
    ActionChains(page.driver).move_to_element(page.find(f"#scatter circle[data-id='{best_id}']")).perform()
    assert page.text("#scatter .tip").startswith(f"{best_id[:7]} · optimizer.lr 0.01 · val_loss ")
    page.click(f"#scatter circle[data-id='{best_id}']")
    assert page.js("return state.open") == best_id


def test_what_is_in_colour_is_told_apart_by_what_differs(page: Page) -> None:
    differs = "JSON.stringify(run.params) !== JSON.stringify(view.best.params)"
    params = page.js(
        f"const other = view.runs.find(run => {differs}); set({{ticked: other.id}});"
        "return [view.best, other].map(run => ({...run.params}))"
    )
    legend = page.text(".main-chart .legend")
    for name in params[0]:
        assert (f"{name.removeprefix('optimizer.')} " in legend) is (params[0][name] != params[1][name]), name


def test_paper_is_light_and_has_all_rows(page: Page) -> None:
    page.state(theme="dark")
    page.js("print(true)")
    assert brightness(page) > 128
    assert len(page.all("#runs tr[data-id]")) == 24
    assert page.js("return charts.every(chart => chart.plot)")
    page.js("print(false)")
    assert brightness(page) < 128


def test_csv_has_what_the_table_shows(page: Page) -> None:
    import csv

    page.state(filter="seed = 1")
    rows = list(csv.DictReader(page.js("return csvText()").splitlines()))
    assert [row["id"] for row in rows] == page.ids()
    assert float(rows[0]["val_loss"]) == page.js("return view.runs[0].metrics.val_loss")
    assert page.js("""return ["=1+1", "+1", "-1", "@a", 'a"b', "a,b", -1, NaN].map(csvCell)""") == [
        "'=1+1", "'+1", "'-1", "'@a", '"a""b"', '"a,b"', "-1", "NaN"
    ]  # fmt: skip


def test_a_chart_becomes_svg_and_png(page: Page) -> None:
    import xml.etree.ElementTree as ET

    page.state(ticked=page.ids()[3], logy="1")
    svg = ET.fromstring(page.js("return chartSvg(charts[0])"))
    assert len(svg.findall(".//{*}g/{*}path")) >= 4
    page.js(
        "window.taken = null; "
        "download = async (blob, name) => {"
        "  const bytes = await blob.arrayBuffer();"
        "  window.taken = [name, [...new Uint8Array(bytes).slice(0, 4)], bytes.byteLength];"
        "}"
    )
    page.js("exportChart(charts[0], 'png')")
    wait_until(lambda: page.js("return window.taken") is not None)
    name, magic, size = page.js("return window.taken")
    assert (name, bytes(magic)) == ("loss.png", b"\x89PNG")
    assert size > 5000


def test_only_the_rows_in_sight_are_in_the_document(page: Page, tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.add(*(record(number, {"x": number}, [{"val_loss": float(number)}]) for number in range(400)))
    many = Page(page.driver, written(tmp_path))
    many.open()
    assert len(many.all("#runs tbody tr")) < 50
    assert many.find("#runs").get_attribute("aria-rowcount") == "401"
    many.js("document.querySelector('.scroller').scrollTop = 1e6")
    wait_until(lambda: many.js("return document.querySelector('#runs tr[aria-rowindex=\"401\"]')") is not None)
    assert many.errors() == []


@pytest.mark.parametrize("runs", ["none", "one without metrics", "one", "values of all kinds"])
def test_small_and_odd_reports_open(page: Page, tmp_path: Path, runs: str) -> None:
    project = Project(tmp_path)
    odd: dict[str, Any] = {
        "a": None,
        "b": [1, {"c": "[NaN]"}],
        "big": 10**30,
        "nan": "[NaN]",
        "inf": "[-Infinity]",
        "empty": {},
        "": True,
        ",": 1,
    }
    metrics: list[dict[str, Any]] = [
        {"val_loss": "[NaN]", "text": "x", "flag": True},
        {"val_loss": "[+Infinity]"},
        {},
        {"val_loss": 2},
    ]
    if runs == "one without metrics":
        project.add(record(1, {}, []))
    elif runs == "one":
        sweep(project, 1, 1)
    elif runs == "values of all kinds":
        project.add(
            record(1, odd, metrics), record(2, {"a": 1, "b": "x"}, metrics[::-1]), record(3, {}, [{"other": 1}])
        )
    other = Page(page.driver, written(tmp_path))
    other.open()
    for view in ({"group": "seed"}, {"group": "", "x": "time", "logx": "1", "logy": "1", "smooth": "0.5"}):
        other.state(**view)
    for id in other.ids():
        other.state(open=id)
    for name in other.js("return namesOf('params')"):
        other.state(
            sort=other.js("return joined([`params.${arguments[0]}`])", name),
            scatter=other.js("return joined([`params.${arguments[0]}`, 'created', ''])", name),
        )
    assert other.errors() == []
    assert other.js("return view.error") == ""


def test_it_works_in_the_frame_of_a_notebook(page: Page, sweep_records: Records, tmp_path: Path) -> None:
    report = keepsake.Project(directory=sweep_records[0]).experiments.report()
    (tmp_path / "notebook.html").write_text(f"<!doctype html><body>{report._repr_html_()}", "utf-8")
    page.driver.get((tmp_path / "notebook.html").as_uri())
    page.driver.switch_to.frame(page.find("iframe"))
    wait_until(lambda: page.js("return document.body?.dataset.ready") == "1")
    page.state(filter="seed = 1", ticked="x")
    assert len(page.ids()) == 8
    page.js("exportCsv()")
    wait_until(lambda: "experiments.report" in page.text("#toast"))
    page.driver.switch_to.default_content()
    assert page.errors() == []


@pytest.fixture
def resize(page: Page) -> Iterator[Callable[[int, int], None]]:
    """Set the width and the height of the window, for one test."""

    def set_size(width: int, height: int = 1500) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    yield set_size
    set_size(1280)


@pytest.mark.parametrize("width", [400, 800, 1280])
def test_nothing_sticks_out(page: Page, resize: Callable[[int], None], width: int) -> None:
    resize(width)
    page.open()
    assert page.js("return document.documentElement.scrollWidth") <= width


def test_nothing_sticks_out_on_paper(page: Page, resize: Callable[[int], None]) -> None:
    """Otherwise, browsers print everything smaller."""
    page.js("print(true)")
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        resize(700)
        assert page.js("return document.documentElement.scrollWidth") <= 700
    finally:
        page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        page.js("print(false)")


def test_a_panel_higher_than_the_window_cuts_nothing_off(page: Page, resize: Callable[[int, int], None]) -> None:
    resize(1280, 400)
    page.state(ticked=",".join(page.ids()[:2]), compare="1")
    shown, full = page.js("const {clientHeight, scrollHeight} = $('.compare'); return [clientHeight, scrollHeight]")
    assert shown == full > 100


def test_without_scripts_the_preview_is_there(page: Page) -> None:
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.driver.get(page.path.as_uri())
        assert len(page.all("table.plain tbody tr")) == 20
        assert page.find("svg.plain").size["height"] > 100
    finally:
        page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        page.driver.get("about:blank")


def test_filter_texts_that_the_page_writes_are_understood(page: Page) -> None:
    """Those of a brush and of a group, whatever the names and values."""
    values = ["a b", "and", 'quo"te', "1", "true", "x,y", 1.5, -3, True, "(", "é"]
    for value in values:
        text = page.js("return conditionText('params.width', '=', arguments[0])", value)
        assert page.js("parseFilter(arguments[0]); return true", text)
    assert json.loads(page.js("return JSON.stringify(conditionText('a b', '<', 1))")) == '"a b" < 1'
