"""The page in Chromium: what a test of its text can't see."""

import json
import shutil

import pytest
from report_samples import SCRIPT, hostile_report

from mmst_cli.evaluation.report import write_report

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
VIEWS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium: `apt-get install chromium chromium-driver`"),
    pytest.mark.skipif(not DRIVER, reason="no ChromeDriver: `apt-get install chromium-driver`"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="no Selenium: `pip install selenium`")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "localhost,127.0.0.1")
        patch.setenv("no_proxy", "localhost,127.0.0.1")
        driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
        yield driver
        driver.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("run") / "report.html", hostile_report()).as_uri()


@pytest.fixture(params=VIEWS, ids=[f"{width} {scheme}" for width, scheme in VIEWS])
def page(request, browser, address):
    """The page at a width and in a colour scheme, with everything that folds unfolded."""
    width, scheme = request.param
    browser.get("about:blank")
    browser.get_log("performance"), browser.get_log("browser")
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(address)
    browser.execute_script("document.querySelectorAll('details').forEach(details => details.open = true)")
    browser.expected = request.param
    return browser


def test_the_page_is_seen_as_it_should_be(page, address):
    width, scheme = page.expected
    run = page.execute_script
    assert run("return window.innerWidth") == width
    assert run("return document.documentElement.scrollWidth") <= width
    sticking_out = """return [...document.querySelectorAll('body *')].filter(element =>
        !element.closest('.scroll, pre, .skip, svg') && element.getBoundingClientRect().right > innerWidth + 1
    ).map(element => element.outerHTML.slice(0, 200))"""
    assert run(sticking_out) == []
    ground = run("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 23, 28)"}[scheme]
    images = run("return [...document.images].map(image => [image.alt, image.naturalWidth])")
    assert images
    assert all(alt and pixels for alt, pixels in images)
    charts = run("return [...document.querySelectorAll('svg')].filter(svg => svg.getBoundingClientRect().width).length")
    assert charts == 2
    small = run("""return [...document.querySelectorAll('svg text')].map(text => text.getBoundingClientRect().height)
        .filter(height => height && height < 11)""")
    assert small == []


def test_markup_in_the_data_is_text(page):
    run = page.execute_script
    assert SCRIPT in run("return document.body.innerText")
    assert run("return document.scripts.length") == 0
    assert run("return window.hacked ?? null") is None
    assert run("return document.title").endswith(SCRIPT)


def test_nothing_leaves_the_file_and_nothing_is_complained_about(page, address):
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert address in asked
    assert [url for url in asked if url != address and not url.startswith("data:")] == []
    assert page.get_log("browser") == []


def test_it_is_walked_through_by_keyboard(page):
    names = page.execute_script("""return [...document.querySelectorAll('a, summary, [tabindex="0"]')].map(element => {
        element.focus()
        return [document.activeElement === element, element.getAttribute('aria-label') || element.innerText]
    })""")
    assert len(names) > 8
    assert all(focused and name.strip() for focused, name in names)
