"""The server behind a live page: what it answers, and to whom; and a click in a browser that samples a model."""

import http.client
import io
import threading

import explored
import numpy as np
import pytest
from browser import Watched, browser, chromium
from PIL import Image

from hessgeo.explorer import assemble
from hessgeo.explorer.server import SAMPLE, LiveServer


def at(a, b):
    """An image that tells where it was made, in quarters of a hundredth."""
    return np.full((4, 5, 1), round(100 * a + 10 * b), np.uint8)


@pytest.fixture(scope="module")
def server():
    page = assemble(explored.content(), live=SAMPLE)
    with LiveServer(page, at, explored.GRID.extent) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(
        method, path, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    answer = connection.getresponse()
    found = answer.status, answer.read(), answer.headers
    connection.close()
    return found


def test_the_page_and_images_are_answered_to_who_knows_the_token(server):
    status, page, headers = ask(server, f"/{server.token}/")
    assert status == 200
    assert page == server.page
    assert b"connect-src 'self'" in page
    assert headers["Cache-Control"] == "no-store"
    status, image, headers = ask(server, f"/{server.token}/sample?a=1.5&b=0.5")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(image))), np.full((4, 5), 155))


def test_it_listens_on_the_loopback_address_alone_with_another_token_each_time(server):
    assert server.server_address[0] == "127.0.0.1"
    with LiveServer("", at, explored.GRID.extent) as other:
        assert other.token != server.token
        assert len(other.token) >= 32


@pytest.mark.parametrize("path", ["/", "", "/x", "/x/", "/{token}", "/{other}/", "/{other}/sample?a=1&b=1"])
def test_nothing_is_answered_without_the_token(server, path):
    path = path.format(token=server.token, other=server.token[:-1] + "~")
    assert ask(server, path)[:2] == (403, b"not allowed")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "example.org"},  # a name that was made to point here
        {"Origin": "https://example.org"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
)
def test_pages_of_other_origins_get_nothing(server, headers):
    assert ask(server, f"/{server.token}/sample?a=1&b=1", **headers)[:2] == (403, b"not allowed")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("a=1", "b is 'nothing'; allowed: a number from 0 to 2"),
        ("a=nan&b=1", "a is 'nan'; allowed: a number from -1 to 2"),
        ("a=3&b=1", "a is '3'; allowed: a number from -1 to 2"),
        ("a=x&b=1", "a is 'x'; allowed: a number from -1 to 2"),
    ],
)
def test_parameters_outside_the_box_are_refused_in_one_line(server, query, words):
    status, answer, _ = ask(server, f"/{server.token}/sample?{query}")
    assert (status, answer.decode()) == (400, words)


def test_it_does_nothing_but_answer(server):
    assert ask(server, f"/{server.token}/", method="POST")[0] == 501
    assert ask(server, f"/{server.token}/../etc/passwd")[0] == 404


@pytest.mark.slow
@pytest.mark.skipif(chromium() is None, reason="no Chromium: apt-get install chromium (as .ci/run does)")
def test_a_click_shows_what_the_model_makes_there(server):
    with browser() as opened:
        page = Watched(opened).open(server.address)
        page.page.mouse.click(*page.pixel(12.3, 4.4))
        page.page.locator("#fresh-words", has_text="sampled at").wait_for()
        place = page.ask("() => window.explorer.state.a")
        read = """() => {
          const image = document.getElementById('fresh');
          const canvas = document.createElement('canvas');
          [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
          const context = canvas.getContext('2d'); context.drawImage(image, 0, 0);
          return [image.naturalWidth, image.naturalHeight, context.getImageData(2, 2, 1, 1).data[0]]; }"""
        page.ask("() => document.getElementById('fresh').decode()")
        assert page.ask(read) == [5, 4, int(at(*place)[0, 0, 0])]
        assert page.errors == []
        assert all(url.startswith((server.address, "blob:", "data:")) for url in page.requests)
