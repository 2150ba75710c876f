"""An S3 server of this machine for tests, whose buckets are folders, and which fails as it is told to."""

import socket
import threading
import time
from contextlib import contextmanager
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from pathlib import Path

from localbucket import S3Error, S3Handler

USER = "tests"
SILENCE = 1.0  # seconds


class _Handler(S3Handler):
    def log_message(self, *_):
        pass

    def _dispatch(self, action):
        server = self.server
        server.asked.append((self.command, self.path))
        fault = next((name for name in server.faults if server.applies(name, self.command, self.path)), None)
        user = self.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0]
        if user != server.user:
            self._refuse(HTTPStatus.FORBIDDEN, "InvalidAccessKeyId")
        elif fault is None:
            super()._dispatch(action)
        else:
            server.faults[fault] -= 1
            getattr(self, f"_{fault}")(action)

    def _refuse(self, status, code):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._send_error(S3Error(status, code, "as the test wants it"))

    def _slow_down(self, _):
        self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "SlowDown")

    def _broken(self, _):
        self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError")

    def _expired(self, _):
        self._refuse(HTTPStatus.BAD_REQUEST, "ExpiredToken")

    def _no_listing(self, _):
        self._refuse(HTTPStatus.FORBIDDEN, "AccessDenied")

    def _silent(self, _):
        time.sleep(SILENCE)
        self._hang_up()

    def _cut_upload(self, _):
        self.rfile.read(int(self.headers["Content-Length"]) // 2)
        self._hang_up()

    def _cut_download(self, action):
        whole = self.wfile
        self.wfile = _Half(whole)
        super()._dispatch(action)
        self.wfile = whole
        self._hang_up()

    def _lose_upload(self, _):
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(HTTPStatus.OK, headers={"ETag": '"0"'})

    def _hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


class _Half:
    """A stream that keeps the second half of the body to itself."""

    def __init__(self, stream):
        self.stream, self.head = stream, True

    def write(self, data):
        self.stream.write(data if self.head else data[: len(data) // 2])
        self.stream.flush()
        self.head = False

    def flush(self):
        self.stream.flush()


class Server(ThreadingHTTPServer):
    """The server: what was asked of it, and how often it is to fail in which way.

    Faults are ``slow_down``, ``broken`` (status 500), ``silent`` for a second, ``expired`` (credentials),
    ``no_listing``, ``cut_upload``, ``cut_download`` and ``lose_upload``.
    """

    daemon_threads = True
    allow_reuse_address = True
    url = "s3://bucket/some/runs"

    def __init__(self, folder, port=0):
        self.asked, self.faults, self.user = [], {}, USER
        self.folder = Path(folder, "bucket", "some", "runs")
        Path(folder, "bucket").mkdir(parents=True, exist_ok=True)
        super().__init__(("127.0.0.1", port), type("Handler", (_Handler,), {"data_root": Path(folder)}))

    def handle_error(self, *_):
        """Say nothing: connections are cut on purpose."""

    @staticmethod
    def _concerns(name, command, path):
        if name == "no_listing":
            return "list-type" in path
        return command in {"upload": ("PUT",), "download": ("GET",)}.get(
            name.rpartition("_")[2], ("PUT", "GET")
        )

    def applies(self, name, command, path):
        return self.faults[name] > 0 and self._concerns(name, command, path)

    @property
    def environment(self):
        """What a client has to have in its environment."""
        return {
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server_port}",
        }

    def count(self, command, ending=""):
        """How often it was asked for something that ends so."""
        return sum(kind == command and path.endswith(ending) for kind, path in self.asked)


@contextmanager
def serving(folder, port=0):
    """A server at work, until it is left."""
    server = Server(folder, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
