"""A real browser without a window: Debian's chromium, driven through its own driver."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromedriver")
DRAWN = (
    "return new Promise((done) => requestAnimationFrame(() => setTimeout(() =>"
    " requestAnimationFrame(() => setTimeout(done)))))"
)
"""A script that returns when what happened before has been drawn."""


def needed() -> None:
    """Skip, by name, where there is no browser; with CI=true that is a failure."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        said = f"{' and '.join(absent)} not here: apt-get install chromium chromium-driver"
        if os.environ.get("CI") == "true":
            pytest.fail(said)
        pytest.skip(said)


class Page:
    """A file that is open in the browser."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path, place: str = "") -> float:
        """Open a file; the seconds until its first view is drawn."""
        started = time.perf_counter()
        self.driver.get(f"{path.absolute().as_uri()}{place}")
        self.js(DRAWN)
        return time.perf_counter() - started

    def js(self, script: str, *given: Any) -> Any:
        """What a script returns; a promise is waited for."""
        return self.driver.execute_script(script, *given)

    def all(self, selector: str) -> list[Any]:
        """The elements that are shown."""
        elements = self.driver.find_elements("css selector", selector)
        return [element for element in elements if element.is_displayed()]

    def texts(self, selector: str) -> list[str]:
        """Their texts."""
        return [element.text for element in self.all(selector)]

    def choose(self, select: str, value: str) -> float:
        """Choose an option; the seconds until the page is drawn again."""
        started = time.perf_counter()
        self.js(
            "const s = document.querySelector(arguments[0]); s.value = arguments[1];"
            "s.dispatchEvent(new Event('change'));"
            f"{DRAWN}",
            select,
            value,
        )
        return time.perf_counter() - started

    def press(self, *keys: str) -> None:
        """Type keys where the focus is."""
        from selenium.webdriver import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()
        self.js(DRAWN)

    def complaints(self) -> list[str]:
        """What the console said."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that anything was asked of, but for the file and what stands in it."""
        asked = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                asked.append(message["params"]["request"]["url"])
        assert any(url.startswith("file:") for url in asked), "the log does not see requests"
        return [url for url in asked if not url.startswith(("file:", "data:"))]


@contextmanager
def browser() -> Iterator[Page]:
    """A browser that logs its console and every request."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = str(shutil.which("chromium"))
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage",
                 "--window-size=1300,900"):  # fmt: skip
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield Page(driver)
    finally:
        driver.quit()
