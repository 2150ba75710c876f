"""A headless Chromium for tests and benchmarks: that of the system, for no package of Python brings one."""

import shutil
from contextlib import contextmanager

# A function, since the page forbids to evaluate text.
READY = """() => new Promise((done) => {
  const look = () => (window.explorer?.ready ? done() : setTimeout(look, 10));
  look();
})"""
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium():
    """Its path, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser():
    """A browser of playwright's."""
    from playwright.sync_api import sync_playwright

    # Tests may run as root, as whom it refuses its sandbox; the pages are ours.
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


class Watched:
    """A page that notes what went wrong in it, and what it asked for."""

    def __init__(self, browser, width=1400, height=900, **options):
        size = {"width": width, "height": height}
        self.context = browser.new_context(viewport=size, **options)
        self.page = self.context.new_page()
        self.errors, self.requests = [], []
        self.page.on("console", lambda told: told.type == "error" and self.errors.append(told.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, url):
        """Open an address, and wait until nothing is left to prepare."""
        self.page.goto(url)
        self.ask(READY)
        return self

    def ask(self, script, *arguments):
        return self.page.evaluate(script, *arguments)

    def settled(self):
        """After the next two frames."""
        self.ask("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self

    def pixel(self, i, j):
        """Where node (i, j) is in the window."""
        box = self.page.locator("#above").bounding_box()
        x, y = self.ask("(place) => window.explorer.map.toPixel(place)", [i, j])
        return box["x"] + x, box["y"] + y

    @property
    def outside(self):
        """What was asked for, beside the page itself."""
        return [url for url in self.requests[1:] if not url.startswith(("data:", "blob:"))]
