"""A real browser on the pages of two submitted runs."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, TimeoutError, sync_playwright

from tests.conftest import Cli
from tidegate.infra.mlflow.tracking import experiments_url

CHROMIUM = os.environ.get("TIDEGATE_CHROMIUM", "/usr/bin/chromium")
ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000
KEPT = Path(__file__).parent / "screenshots"
Shoot = Callable[[Page, str], None]


@pytest.fixture(scope="session")
def searched(shared: Cli) -> dict[str, Any]:
    """The answer of a submitted search of three trials."""
    answer: dict[str, Any] = shared.ok("submit", "digits-search", "--set", "search.trials=3")
    return answer


@pytest.fixture(scope="module")
def context(shared: Cli) -> Iterator[BrowserContext]:
    """A browser whose user has closed MLflow's assistant once.

    Ended with its file: Playwright keeps an event loop running, in which no other test could start one.
    """
    if not Path(CHROMIUM).exists():
        pytest.fail(f"{CHROMIUM} is not there: apt-get install chromium, or set $TIDEGATE_CHROMIUM")
    url = shared.ok("ui")["url"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        _settle(context.new_page(), url)
        yield context
        browser.close()


def _settle(page: Page, url: str) -> None:
    page.goto(experiments_url(url))  # what `tidegate ui` opens
    with suppress(TimeoutError):  # it opens itself on a first visit only
        page.locator('[data-component-id="mlflow.assistant.chat_panel.close"]').click(timeout=10_000)
    page.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab of the test's own."""
    with context.new_page() as page:
        yield page


@pytest.fixture
def shoot(tmp_path: Path) -> Shoot:
    """Take a screenshot: kept beside the tests with TIDEGATE_SCREENSHOTS=1, else thrown away."""

    def take(page: Page, name: str) -> None:
        folder = KEPT if os.environ.get("TIDEGATE_SCREENSHOTS") == "1" else tmp_path
        page.screenshot(path=folder / f"{name}.png", animations="disabled")

    return take
