"""A real Chromium, started once, and pages in it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import keepsake
from keepsake.exceptions import KeepsakeError
from keepsake.metadata import best_checkpoint
from keepsake.report.report import make_report
from tests.report.filters import FILTERS
from tests.report.projects import START, Project, sweep
from tests.waiting import wait_until

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DRIVER = shutil.which("chromedriver")
ARGUMENTS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-quic --disable-sync "
    "--disable-background-networking --disable-component-update --window-size=1280,1500"
)


class Page:
    """A report in the browser. It counts the clicks of a test, which are a person's."""

    def __init__(self, driver: WebDriver, path: Path) -> None:
        self.driver = driver
        self.path = path
        self.clicks = 0

    def open(self, fragment: str = "") -> None:
        self.driver.get("about:blank")  # otherwise, only the fragment would change
        self.driver.get(f"{self.path.as_uri()}#{fragment}")
        wait_until(lambda: self.js("return document.body?.dataset.ready") == "1")

    def js(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[WebElement]:
        return list(self.driver.find_elements("css selector", selector))

    def text(self, selector: str) -> str:
        return str(self.js("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def click(self, target: str | WebElement) -> None:
        self.clicks += 1
        element = self.find(target) if isinstance(target, str) else target
        self.js("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def keys(self, *keys: str) -> None:
        """Press keys where the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def row(self, place: int) -> WebElement:
        return self.all("#runs tbody tr[data-id]")[place]

    def ids(self) -> list[str]:
        """The IDs of all runs in the table, in its order."""
        return list(self.js("return view.runs.map(run => run.id)"))

    def state(self, **changes: str) -> None:
        self.js("set(arguments[0])", changes)

    def _log(self, kind: str) -> list[dict[str, str]]:
        driver: Any = self.driver  # because selenium has no types for it
        return list(driver.get_log(kind))

    def errors(self) -> list[str]:
        """What the console says, errors of the content security policy included."""
        return [entry["message"] for entry in self._log("browser")]

    def requests(self) -> list[str]:
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("data:", "blob:", "about:", "chrome:"))]


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="the report's page needs selenium to be tested")
    if not CHROMIUM or not DRIVER:
        pytest.skip("NOT TESTED: the report's page. `make browser` installs Chromium and its driver.")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in [*ARGUMENTS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    size = {"width": 1280, "height": 1500, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield driver
    driver.quit()


def written(directory: Path, name: str = "report.html", **options: Any) -> Path:
    """Make the report of a project."""
    experiments = keepsake.Project(directory=directory).experiments.list()
    path = directory / name
    make_report(experiments, made=START, **options).save(path)
    return path


@pytest.fixture(scope="session")
def sweep_records(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sequence[dict[str, Any]]]:
    """A project with 24 runs of a sweep, one each that failed, was lost and runs, and its records.

    Some of them measure f1 and recall now and then: f1 in neither the best nor the latest checkpoint, recall in one of
    the best.
    """
    project = Project(tmp_path_factory.mktemp("sweep"))
    records = sweep(project, 24)
    failed = {
        "end_reason": "exception: ValueError",
        "error": "ValueError: the loss is NaN",
        "traceback": "File train.py",
    }
    other = {"python_packages": {"numpy": "2.1.0"}, "host": "gpu-2", "user": "johanna"}
    begun = {"ended": None, "end_reason": None}
    records[10] |= failed | other
    records[11] |= begun
    records[12] |= begun
    for number, each in enumerate(records[:6]):
        for step, f1 in ((2, 0.9), (4, number / 10)):
            each["checkpoints"][step]["metrics"] |= {"f1": f1, "recall": f1}
    best = best_checkpoint(records[1]["checkpoints"])
    assert best
    best["metrics"]["recall"] = 0.75
    project.add(*records[:6], *records[10:13])
    project.beat(records[11]["id"], START)
    project.beat(records[12]["id"], time.time() + 30)
    return project.directory, records


@pytest.fixture(scope="session")
def matching(sweep_records: tuple[Path, object], sweep_page: Page) -> dict[str, set[str] | None]:
    """Filter → the IDs of the runs that match, as the library finds them; None: it is wrong."""
    project, found = keepsake.Project(directory=sweep_records[0]), dict[str, "set[str] | None"]()
    for text in FILTERS:
        try:
            found[text] = {experiment.id for experiment in project.experiments.list(text or None)}
        except KeepsakeError:
            found[text] = None
    return found


@pytest.fixture(scope="session")
def sweep_page(driver: WebDriver, sweep_records: tuple[Path, object]) -> Page:
    page = Page(driver, written(sweep_records[0]))
    page.open()
    return page


@pytest.fixture
def page(sweep_page: Page) -> Page:
    """The page of the sweep, as it opens."""
    driver = sweep_page.driver
    if driver.current_url.split("#")[0] != sweep_page.path.as_uri():
        sweep_page.open()
    sweep_page.js(
        "document.activeElement?.blur(); resetZoom(); set({...DEFAULTS}); moveCursor(0); document.activeElement.blur();"
        "document.getElementById('filter').value = ''; document.getElementById('columns').open = false; scrollTo(0, 0)"
    )
    sweep_page.clicks = 0
    sweep_page.errors()
    return sweep_page
