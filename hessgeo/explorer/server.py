"""A server of this machine alone that samples a model where its page is clicked."""

from __future__ import annotations

import hmac
import io
import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import isfinite
from urllib.parse import parse_qs, urlsplit

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from hessgeo.grids import Extent

LOOPBACK = "127.0.0.1"
SAMPLE = "sample"  # what the page asks for, beside itself
Sampler = Callable[[float, float], UInt8[np.ndarray, "h w c"]]


class LiveServer(ThreadingHTTPServer):
    """Serves one page, and images of a model at parameters that the page asks for.

    It listens on the loopback address alone. Its address holds a token that is drawn anew each time; whoever does not
    know it, asks under another name of this machine, or for a page of another origin, gets nothing.

    Args:
        page: of ``assemble(.., live=SAMPLE)``.
        sampler: parameters to an image.
        box: in which the parameters must lie.
        port: to listen on; any free one if 0.
    """

    daemon_threads = True

    def __init__(self, page: str, sampler: Sampler, box: Extent, *, port: int = 0) -> None:
        super().__init__((LOOPBACK, port), _Handler)
        self.page, self.sampler, self.box = page.encode(), sampler, box
        self.token = secrets.token_urlsafe(24)
        self.sampling = threading.Lock()  # a model makes one image at a time

    @property
    def origin(self) -> str:
        """Under which the page is known."""
        return f"http://{LOOPBACK}:{self.server_port}"

    @property
    def address(self) -> str:
        """Of the page."""
        return f"{self.origin}/{self.token}/"

    def image(self, query: str) -> bytes:
        """The image at the parameters of a query, as PNG.

        Raises:
            ValueError: one line, if they are no two numbers in the box.
        """
        given = parse_qs(query)
        found = []
        for name, (low, high) in zip(("a", "b"), self.box, strict=True):
            text = given.get(name, ["nothing"])[0]
            try:
                value = float(text)
            except ValueError:
                value = float("nan")
            if not (isfinite(value) and low <= value <= high):
                raise ValueError(f"{name} is {text[:40]!r}; allowed: a number from {low:g} to {high:g}")
            found.append(value)
        with self.sampling:
            pixels = self.sampler(*found)
        file = io.BytesIO()
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(file, format="PNG")
        return file.getvalue()


class _Handler(BaseHTTPRequestHandler):
    server: LiveServer
    server_version, sys_version = "hessgeo", ""

    def do_GET(self) -> None:
        """Answer the page, an image, or nothing."""
        if not self._is_known():
            return self._answer(HTTPStatus.FORBIDDEN, b"not allowed", "text/plain")
        address = urlsplit(self.path)
        place = address.path.split("/", 2)[2]
        if place == "":
            return self._answer(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
        if place != SAMPLE:
            return self._answer(HTTPStatus.NOT_FOUND, b"nothing is here", "text/plain")
        try:
            return self._answer(HTTPStatus.OK, self.server.image(address.query), "image/png")
        except ValueError as error:
            return self._answer(HTTPStatus.BAD_REQUEST, str(error).encode(), "text/plain; charset=utf-8")

    def _is_known(self) -> bool:
        """Whether the token is ours, the name of the machine too, and no page of another origin asks."""
        token = self.path.split("/", 2)
        if len(token) < 3 or not hmac.compare_digest(token[1].encode(), self.server.token.encode()):
            return False
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if f"http://{host}" != self.server.origin or origin not in (None, self.server.origin):
            return False
        return self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: lines would hold the token."""
