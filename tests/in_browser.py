"""A page in Chromium: what a test of its text can't see. Skips where there is no Chromium or ChromeDriver."""

import json
import shutil

import pytest

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
VIEWS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]
VIEW_NAMES = [f"{width} {scheme}" for width, scheme in VIEWS]
GROUND = {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 23, 28)"}
NEEDS_BROWSER = [
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium: `apt-get install chromium chromium-driver`"),
    pytest.mark.skipif(not DRIVER, reason="no ChromeDriver: `apt-get install chromium-driver`"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser that logs what it is told and what it asks for."""
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


def show(browser, address, width, scheme):
    """Show a page at a width and in a colour scheme, with everything that folds unfolded."""
    browser.get("about:blank")
    browser.get_log("performance"), browser.get_log("browser")
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(address)
    browser.execute_script("document.querySelectorAll('details').forEach(details => details.open = true)")
    browser.expected = (width, scheme)
    return browser


def assert_fits(page, *, with_images=True):
    """Nothing sticks out at the width that was asked for, in the colours that were, and every image is seen."""
    width, scheme = page.expected
    run = page.execute_script
    assert run("return window.innerWidth") == width
    assert run("return document.documentElement.scrollWidth") <= width
    sticking_out = """return [...document.querySelectorAll('body *')].filter(element =>
        !element.closest('.scroll, pre, .skip, svg') && element.getBoundingClientRect().right > innerWidth + 1
    ).map(element => element.outerHTML.slice(0, 200))"""
    assert run(sticking_out) == []
    assert run("return getComputedStyle(document.body).backgroundColor") == GROUND[scheme]
    images = run("return [...document.images].map(image => [image.alt, image.naturalWidth])")
    assert bool(images) == with_images
    assert all(alt and pixels for alt, pixels in images)


def assert_alone(page, address):
    """The page asks for nothing but itself, runs no script, and nothing is complained about."""
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert address in asked
    assert [url for url in asked if url != address and not url.startswith("data:")] == []
    assert page.get_log("browser") == []
    assert page.execute_script("return document.scripts.length") == 0


def assert_walked_by_keyboard(page):
    """Everything that can be acted on takes the focus and has a name."""
    names = page.execute_script("""return [...document.querySelectorAll('a, summary, [tabindex="0"]')].map(element => {
        element.focus()
        return [document.activeElement === element, element.getAttribute('aria-label') || element.innerText]
    })""")
    assert len(names) > 4
    assert all(focused and name.strip() for focused, name in names)
