"""The pictures of docs/images: `python -m tests.browser.screenshots`, over a made-up month that always looks alike."""

from __future__ import annotations

import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.centre import Centre
from tests.browser.conftest import Visitor, launched

IMAGES = Path(__file__).parents[2] / "docs" / "images"
BYTES_MAX = 150_000
WINDOW = {"width": 1366, "height": 800}
PHONE = {"width": 390, "height": 844}
WALL = {"width": 1920, "height": 1080}
TARGETS = """
[[targets]]
name = "everybody"
user-type = "human"
first-response = "2min"
response = "4min"

[[targets]]
name = "queues"
queue-wait = "45s"
"""


def main() -> None:
    """Writes all pictures; fails where one is too large."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        centre = Centre(Path(folder), demo=True, targets=TARGETS)
        centre.start()
        try:
            IMAGES.mkdir(exist_ok=True)
            browser = launched(playwright)
            for name, image in shots(centre, browser):
                path = IMAGES / f"{name}.webp"
                path.write_bytes(smaller(browser, image))
                print(f"{path.name}: {path.stat().st_size:,} bytes")
                assert path.stat().st_size <= BYTES_MAX, f"{path.name} is too large"
        finally:
            centre.kill()


def shots(centre: Centre, browser: Browser) -> Iterator[tuple[str, bytes]]:
    """Each view, in a desktop's window; some in the dark or on a phone."""
    visitor = Visitor(centre, browser, viewport=WINDOW, color_scheme="light", reduced_motion="reduce")
    page = visitor.open("/")
    yield "sign-in", page.screenshot(clip={"x": 283, "y": 0, "width": 800, "height": 430})
    page = visitor.sign_in("centre")
    expect(page.locator("[data-chart] canvas")).to_have_count(4)
    yield "now", page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": 1366, "height": 1900})
    yield "agents", visitor.open("/agents?last=last-7-days").screenshot()
    page = visitor.open("/agents?last=last-7-days&agent=3001")
    expect(page.locator("[data-chart] canvas")).to_have_count(4)
    yield "agent", page.screenshot()
    yield "skills", visitor.open("/skills?last=last-7-days&compare=previous").screenshot()
    yield "segments", visitor.open("/segments?last=yesterday").screenshot()
    yield "skill-segments", visitor.open("/skill-segments?last=yesterday").screenshot()
    yield "waits", visitor.open("/waits?last=last-7-days&verdict=missed").screenshot()
    why = telling(visitor)
    page.locator(".item.unit").nth(1).click()
    yield "why", page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": 1366, "height": 1400})
    dark = Visitor(centre, browser, viewport=WINDOW, color_scheme="dark", reduced_motion="reduce")
    dark.sign_in("centre", why)
    dark.page.locator(".item.unit").nth(1).click()
    yield "why-dark", dark.page.screenshot()
    wall = Visitor(centre, browser, viewport=WALL, color_scheme="dark", reduced_motion="reduce")
    wall.sign_in("centre")
    yield "wall", wall.open("/?kiosk=1").screenshot()
    phone = Visitor(
        centre, browser, viewport=PHONE, color_scheme="dark", reduced_motion="reduce", device_scale_factor=1
    )
    phone.sign_in("centre")
    yield "phone", phone.page.screenshot()


def telling(visitor: Visitor) -> str:
    """Opens a conversation with two agents, several units, and not too many events; gives its address."""
    page = visitor.open("/segments?last=7d&outcome=interactive&limit=200")
    for href in page.locator("a.why").evaluate_all("links => links.map(a => a.getAttribute('href'))"):
        visitor.open(href)
        units, lanes = page.locator(".item.unit").count(), page.locator(".lane-name.agent").count()
        if lanes == 2 and 3 <= units <= 6 and page.locator(".fold").count() <= 1:
            return str(href)
    raise AssertionError("no conversation tells enough")


_TO_WEBP = """async ([png, quality]) => {
    const bytes = Uint8Array.from(atob(png), each => each.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
    const canvas = new OffscreenCanvas(image.width, image.height);
    canvas.getContext("2d").drawImage(image, 0, 0);
    const blob = await canvas.convertToBlob({type: "image/webp", quality});
    return btoa(Array.from(new Uint8Array(await blob.arrayBuffer()), each => String.fromCharCode(each)).join(""));
}"""


def smaller(browser: Browser, image: bytes) -> bytes:
    """A picture as WebP, which the browser makes of it: as good as the size allows."""
    page = browser.new_page()
    small = b""
    for quality in (0.85, 0.7, 0.55, 0.4):
        small = b64decode(page.evaluate(_TO_WEBP, [b64encode(image).decode(), quality]))
        if len(small) <= BYTES_MAX:
            break
    page.close()
    return small


if __name__ == "__main__":
    main()
