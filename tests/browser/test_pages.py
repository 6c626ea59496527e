"""What people see: the pages of MLflow and of an endpoint, in a real browser.

`TIDEGATE_SCREENSHOTS=1 pytest tests/browser` refreshes the README's screenshots.
"""

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE_MS, Shoot
from tests.conftest import Cli

pytestmark = pytest.mark.browser
expect.set_options(timeout=PATIENCE_MS)


def _sees(page: Page, *texts: str) -> None:
    for text in texts:
        expect(page.get_by_text(text).first).to_be_visible()


def _picture(page: Page, name: str) -> None:
    page.get_by_text(name, exact=True).click()
    picture = page.get_by_alt_text(f"figures/{name}")
    expect(picture).to_be_visible()
    assert picture.evaluate("img => img.decode().then(() => img.naturalWidth)") > 300


def _child_url(answer: dict[str, Any]) -> str:
    base, trial = answer["mlflow_url"].rsplit("/", 1)[0], answer["trials"][0]
    return f"{base}/{trial['mlflow_run_id']}"


def _tab(url: str, tab: str) -> str:
    """A tab of a run's page; what follows the address's question mark stays."""
    page, _, query = url.partition("?")
    return f"{page}/{tab}?{query}"


def test_the_run(digits: dict[str, Any], page: Page, shoot: Shoot) -> None:
    page.goto(digits["mlflow_url"])
    expect(page.get_by_role("heading", name=digits["run"])).to_be_visible()
    _sees(page, "scikit-learn's handwritten digits", digits["bento"], f"{digits['run']}/trial-0")
    _sees(page, "test_accuracy", f"{digits['metrics']['test_accuracy']}", "Finished")
    _sees(page, "training.epochs", "model.hidden", "tidegate.winner", "version.keras")
    expect(page.get_by_role("link", name=digits["endpoint"]).first).to_have_attribute(
        "href", digits["endpoint"]
    )
    shoot(page, "run")


def test_the_runs_pictures(digits: dict[str, Any], page: Page) -> None:
    page.goto(_tab(digits["mlflow_url"], "artifacts"))
    page.get_by_text("figures", exact=True).click()
    _picture(page, "learning_curves.png")


def test_a_trial(digits: dict[str, Any], page: Page) -> None:
    page.goto(_child_url(digits))
    expect(page.get_by_role("heading", name=f"{digits['run']}/trial-0")).to_be_visible()
    _sees(page, "val_accuracy", "training.batch_size", "Parent run", digits["run"])
    page.get_by_text("digits (").first.click()  # the dataset, whose columns a drawer lists
    _sees(page, "image", "uint8 8x8")


def test_a_trials_pictures(digits: dict[str, Any], page: Page, shoot: Shoot) -> None:
    page.goto(f"{_child_url(digits)}/artifacts")
    page.get_by_text("figures", exact=True).click()
    for name in ("reliability_curve.png", "confusion_matrix.png", "learning_curves.png"):
        _picture(page, name)
    shoot(page, "pictures")


def test_a_trials_charts(digits: dict[str, Any], page: Page, shoot: Shoot) -> None:
    page.goto(f"{_child_url(digits)}/model-metrics")
    _sees(page, "accuracy", "loss", "test_accuracy")
    points = page.locator(".js-plotly-plot").first.locator(".scatterlayer .points path, .scatterlayer .point")
    expect(points).to_have_count(8)  # one an epoch
    shoot(page, "charts")
    page.goto(f"{_child_url(digits)}/system-metrics")
    _sees(page, "cpu_utilization_percentage", "process_memory_megabytes")


def test_compare(
    shared: Cli, digits: dict[str, Any], searched: dict[str, Any], page: Page, shoot: Shoot
) -> None:
    page.goto(shared.ok("compare", digits["run"], searched["run"])["url"])
    _sees(page, "Comparing 2 Runs from 2 Experiments", digits["run"], searched["run"], "test_accuracy")
    for answer in (digits, searched):
        _sees(page, f"{answer['metrics']['test_accuracy']:.3f}")
    shoot(page, "compare")


def test_the_trials_of_a_search_compared(
    shared: Cli, searched: dict[str, Any], page: Page, shoot: Shoot
) -> None:
    """The plot begins with what was searched and with the gate's metric, and the page is one for training."""
    page.goto(shared.ok("compare", searched["run"])["url"])
    _sees(page, "Comparing 4 Runs from 1 Experiment", "Parallel Coordinates Plot", "Model registry")
    axes = page.locator(".parcoords .axis-title, .js-plotly-plot .axis-title")
    expect(axes).to_have_text(["model.dropout", "training.optimizer.learning_rate", "test_accuracy"])
    shoot(page, "trials")


def test_the_experiment_lists_trials_under_their_run(searched: dict[str, Any], page: Page) -> None:
    page.goto(searched["mlflow_url"].split("/runs/")[0] + "/runs")
    _sees(page, searched["run"], "matching runs")
    page.get_by_role("gridcell", name=searched["run"]).get_by_role("button").first.click()
    _sees(page, *(f"{searched['run']}/trial-{index}" for index in range(3)))


def test_the_registered_model(digits: dict[str, Any], page: Page) -> None:
    page.goto(digits["mlflow_url"].split("#")[0] + "#/models/digits")
    _sees(page, "Version 1", "champion", "tidegate.release")
    page.get_by_role("link", name="Version 1").click()
    _sees(page, f"{digits['run']}/trial-0", f"release 1 of digits, bento {digits['bento']}")


def test_the_endpoints_page(digits: dict[str, Any], page: Page, shoot: Shoot) -> None:
    page.goto(digits["endpoint"])
    expect(page.get_by_role("heading", name="digits")).to_be_visible()
    _sees(page, "A classification of label from image", "/contract")
    shoot(page, "endpoint")
    page.locator(".opblock-post").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    _sees(page, '"probabilities"', "Server response")
    contract = page.goto(f"{digits['endpoint']}/contract")
    assert contract is not None
    assert contract.json()["classes"] == list(range(10))
