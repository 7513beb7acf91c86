"""The contact sheet in Chromium: what a test of its text can't see."""

import json
import shutil

import pytest
from datasets import Features, Value
from datasets import Image as ImageFeature

from mmst_cli.config.schema import MineConfig
from mmst_cli.mining.contact_sheet import write_sheet
from mmst_cli.mining.summary import facts_of

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
VIEWS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]
SCRIPT = "<script>window.hacked = 1</script>"
LONG = "averyveryverylongwordwithoutanyspace" * 6

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


@pytest.fixture
def address(page_rows, encoded, rows_of, mine, tiny_model, text_pairs, text_model, tmp_path, kind):
    """A page of images, or of texts, with words that try to be markup or don't fit."""
    if kind == "images":
        rows = [{"query": q, "image": {"bytes": encoded(p), "path": None}} for q, p in page_rows(24)]
        features = Features({"query": Value("string"), "image": ImageFeature()})
        rows[0]["query"], rows[1]["query"] = SCRIPT, LONG
        prepared = rows_of(rows, positive="image", names=("query", "image"), features=features)
        model = tiny_model
    else:
        rows = text_pairs(24, 3)
        rows[0] |= {"query": SCRIPT, "answer": LONG}
        prepared, model = rows_of(rows), text_model
    found = mine(prepared, model, num_negatives=5, relative_margin=0.0)
    settings = MineConfig(num_negatives=5, relative_margin=0.0)
    title = f"Hard negatives {SCRIPT}"
    path = tmp_path / "mined.html"
    return write_sheet(path, prepared, found, facts_of(found), settings, title=title, model=LONG, seed=0).as_uri()


@pytest.mark.parametrize("kind", ["images", "texts"])
@pytest.mark.parametrize("view", VIEWS, ids=[f"{width} {scheme}" for width, scheme in VIEWS])
def test_the_page_is_seen_as_it_should_be(view, kind, browser, address):
    width, scheme = view
    browser.get("about:blank")
    browser.get_log("performance"), browser.get_log("browser")
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(address)
    run = browser.execute_script
    assert run("return window.innerWidth") == width
    assert run("return document.documentElement.scrollWidth") <= width
    sticking_out = """return [...document.querySelectorAll('body *')].filter(element =>
        !element.closest('.scroll, pre, .skip, svg') && element.getBoundingClientRect().right > innerWidth + 1
    ).map(element => element.outerHTML.slice(0, 200))"""
    assert run(sticking_out) == []
    ground = run("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 23, 28)"}[scheme]
    images = run("return [...document.images].map(image => [image.alt, image.naturalWidth])")
    assert bool(images) == (kind == "images") and all(alt and pixels for alt, pixels in images)
    assert run("return document.scripts.length") == 0 and run("return window.hacked ?? null") is None
    assert SCRIPT in run("return document.body.innerText")
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if url != address and not url.startswith("data:")] == []
    assert browser.get_log("browser") == []
