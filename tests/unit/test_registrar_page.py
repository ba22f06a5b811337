# SPDX-License-Identifier: GPL-3.0-or-later
"""The page, as people use it: real headless Chromium (Debian's), on a desktop, on a phone, in the dark."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from registrar_kit import PASSWORD, machine, new_key
from registrar_process import registrar
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

SHOTS = os.environ.get("UPDRAFT_SCREENSHOTS")


def browser(width: int, *, dark: bool = False):
    """A Chromium with a window of this width."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium and driver, "chromium is missing: apt-get install chromium chromium-driver"
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.accept_insecure_certs = True
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    found.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    if dark:
        scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        found.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A rack in the middle of its day."""
    with registrar(tmp_path_factory.mktemp("page")) as process:
        told = {}
        for number in range(2, 7):
            told[number] = machine(number)
            status, answer = process.call("POST", "/v1/nodes", told[number], at=number)
            assert status == 201
            if number < 5:
                wanted = {"code": answer["code"], "name": f"node{number}", "pool": "community"}
                assert process.call("POST", "/v1/hosts/approve", wanted, operator=True)[0] == 200
                process.call("GET", f"/v1/nodes/{answer['id']}", at=number)
        process.call("POST", "/v1/hosts/node2/state", {"state": "in_service"}, operator=True)
        process.call("POST", "/v1/hosts/node3/state", {"state": "away"}, operator=True)
        progress(process, 42)
        process.call("POST", "/v1/nodes", {**told[2], "host_key": new_key()}, at=2)
        yield process


def progress(process, percent: int) -> None:
    body = {"stage": "converge", "percent": percent, "status": "running", "message": "hypervisor | Write the settings"}
    assert process.call("PUT", "/v1/hosts/node4/progress", body, operator=True)[0] == 200


def log_in(page, process) -> None:
    page.get(f"https://localhost:{process.port}/")
    assert page.title == "Updraft: log in"
    page.find_element(By.ID, "password").send_keys(PASSWORD)
    page.find_element(By.CSS_SELECTOR, "button").click()
    WebDriverWait(page, 10).until(lambda found: found.title == "Updraft: machines")


def shot(page, name: str) -> None:
    if SHOTS:
        width, height = page.execute_script("return [innerWidth, document.documentElement.scrollHeight]")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        page.save_screenshot(str(Path(SHOTS) / f"{name}.png"))


def until(page, what, seconds: float = 12) -> None:
    WebDriverWait(page, seconds, ignored_exceptions=[Exception]).until(what)


def check_access(page) -> None:
    """What a screen reader and a thumb need."""
    unnamed = page.execute_script("""
        return [...document.querySelectorAll("input:not([type=hidden]):not([aria-hidden]), select, progress")]
            .filter((field) => !field.labels.length && !field.ariaLabel).map((field) => field.outerHTML)""")
    assert not unnamed
    assert page.execute_script("return document.documentElement.lang") == "en"
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    small = page.execute_script("""
        return [...document.querySelectorAll("button")]
            .filter((button) => button.getBoundingClientRect().height < 40).length""")
    assert small == 0


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (375, False), (375, True), (1280, True)])
def test_looks(site, width, dark):
    page = browser(width, dark=dark)
    try:
        log_in(page, site)
        check_access(page)
        shot(page, f"page-{width}{'-dark' if dark else ''}")
        ground = page.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(17, 23, 28)") == dark
        assert not [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    finally:
        page.quit()


def test_a_person_approves(site):
    page = browser(375)
    try:
        log_in(page, site)
        cards = page.find_elements(By.CSS_SELECTOR, "#waiting article")
        assert len(cards) == 2
        assert "Xeon(R) Gold 6338" in cards[0].text and "256 GiB" in cards[0].text
        assert "42 %" in page.find_element(By.ID, "working").text
        assert "was ready" in page.find_element(By.ID, "away").text
        assert "double" in page.find_element(By.ID, "alarms").text
        # What is typed stays while the page goes on; a progress moves; a machine shows up.
        name = cards[0].find_element(By.NAME, "name")
        name.send_keys("node9")
        progress(site, 77)
        site.call("POST", "/v1/nodes", machine(9), at=9)
        until(page, lambda found: "77 %" in found.find_element(By.ID, "working").text)
        until(page, lambda found: len(found.find_elements(By.CSS_SELECTOR, "#waiting article")) == 3)
        assert name.get_attribute("value") == "node9"
        Select(cards[0].find_element(By.NAME, "pool")).select_by_visible_text("big")
        cards[0].find_element(By.CSS_SELECTOR, "button").click()
        until(page, lambda found: "node9 is approved." in found.find_element(By.CSS_SELECTOR, "[role=status]").text)
        found = next(host for host in site.hosts() if host["name"] == "node9")
        assert (found["pool"], found["state"]) == ("big", "approved")
        # A name that is taken: said, and nothing done.
        card = page.find_element(By.CSS_SELECTOR, "#waiting article")
        card.find_element(By.NAME, "name").send_keys("node2")
        card.find_element(By.CSS_SELECTOR, "button").click()
        until(
            page,
            lambda found: (
                "node2 is taken" in found.find_element(By.CSS_SELECTOR, ".banner[role=alert]:not([hidden])").text
            ),
        )
        page.find_element(By.CSS_SELECTOR, "#alarms button").click()
        until(page, lambda found: not found.find_elements(By.CSS_SELECTOR, "#alarms article"))
        page.find_element(By.ID, "q").send_keys("node2\n")
        until(page, lambda found: "q=node2" in found.current_url)
        until(page, lambda found: found.find_elements(By.CSS_SELECTOR, "#in_service article"))
        assert not page.find_elements(By.CSS_SELECTOR, "#working article")
        page.find_element(By.XPATH, "//button[text()='Log out']").click()
        until(page, lambda found: found.title == "Updraft: log in")
        page.get(f"https://localhost:{site.port}/")
        assert page.title == "Updraft: log in"
        shot(page, "login-375")
    finally:
        page.quit()


def test_a_registrar_that_is_down_is_said(tmp_path):
    with registrar(tmp_path) as process:
        page = browser(1280)
        try:
            log_in(page, process)
            shot(page, "empty-1280")
            assert "No machine waits." in page.find_element(By.TAG_NAME, "main").text
            process.end(9)
            until(page, lambda found: found.find_element(By.ID, "stale").is_displayed())
            process.start()
            until(page, lambda found: not found.find_element(By.ID, "stale").is_displayed(), 20)
        finally:
            page.quit()
