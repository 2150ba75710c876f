"""Files of Zarr folders that are kept as objects at a URL, each with a pointer in its place.

A pointer is a record (see ``records``) that names the object, its size and its SHA-256. It stands where the file would,
so that whoever asks for the file by its path finds the object: no listing is ever asked for. Every request is tried
again with growing pauses, for as long as the patience of the store lasts.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from hessgeo.store.files import StoreError
from hessgeo.store.records import read_record, write_record

PATIENCE = 120.0  # seconds
ANSWER = 60.0  # seconds after which one that was not answered is asked again
BACKOFF = {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=10), "base": 2}
MOST_TRIES = 1000  # patience ends first
SCHEMES = ("s3://", "gs://", "az://")
POINTER, POINTER_BYTES = "object", 1 << 13
BLOCK = 1 << 23  # bytes that are asked for at once to be digested: a slow line has them before time is out
PROBE = ".hessgeo"  # what is written to find out whether anything can be
EXPIRED = ("ExpiredToken", "InvalidToken", "TokenRefreshRequired")  # which Amazon says with status 400
CREDENTIALS = "credentials in the environment (of S3 AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION)"


class ObjectStoreError(RuntimeError):
    """An object store that cannot be asked; nothing is known of what it holds, so that nothing is damaged either."""


class ShortObjectError(StoreError):
    """An object that ends before the bytes that were asked for."""


@dataclass(frozen=True)
class Place:
    """Where the files of a folder are kept.

    Attributes:
        url: of the folder; None keeps files as files.
        root: the folder.
        patience: seconds for which a request is tried again.
    """

    url: str | None
    root: Path
    patience: float = PATIENCE

    def address(self, path: str | Path) -> str | None:
        """URL of what is kept of a file, None if it stays a file."""
        absolute = Path(os.path.abspath(path))
        if self.url is None or not absolute.is_relative_to(self.root):
            return None
        return f"{self.url.rstrip('/')}/{absolute.relative_to(self.root).as_posix()}"


# Of the process, for threads of Dask and Zarr read too: a job has one place for all that it does.
_places: list[Place] = []


@contextmanager
def kept_at(url: str | None = None, root: str | Path = ".", patience: float = PATIENCE) -> Iterator[Place]:
    """Keep the shards and chunks that are written into a folder as objects at a URL."""
    _places.append(Place(url, Path(os.path.abspath(root)), patience))
    try:
        yield _places[-1]
    finally:
        _places.pop()


def the_place() -> Place:
    """Where results are kept now."""
    return _places[-1] if _places else Place(None, Path("/"))


@cache
def _client(bucket: str, patience: float) -> Any:
    try:
        from obstore.store import from_url
    except ImportError:
        raise ObjectStoreError(f"{bucket} needs the package obstore: pip install hessgeo[cloud]") from None
    options: dict[str, Any] = {
        "client_options": {
            "timeout": timedelta(seconds=min(patience, ANSWER)),
            "allow_http": os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"),
        },
        "retry_config": {
            "max_retries": MOST_TRIES,
            "retry_timeout": timedelta(seconds=patience),
            "backoff": BACKOFF,
        },
    }
    if bucket.startswith("s3://"):
        # The digest goes with what is written: a store that got other bytes refuses them.
        options["config"] = {"checksum_algorithm": "SHA256"}
    return from_url(bucket, **options)


def _open(url: str) -> tuple[Any, str]:
    """The client of a bucket, and the key of an object in it."""
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    with _told(url):
        return _client(f"{scheme}://{bucket}", the_place().patience), key


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Say in one line what a request came to.

    Raises:
        StoreError: if there is no such object, or less of it than was written.
        ObjectStoreError: if the store cannot be asked.
    """
    try:
        yield
    except (ObjectStoreError, StoreError):
        raise
    except Exception as error:  # noqa: BLE001 - each ends in a line of ours
        text = str(error).partition("\n\nDebug source")[0]
        code = re.search(r"<Code>(\w+)</Code>", text)
        status = re.search(r"status code: (\d+)", text)
        known = code[1] if code else ""
        # The error itself is a page of the client's own variables.
        if isinstance(error, FileNotFoundError) and known != "NoSuchBucket":
            raise StoreError(f"{url} is missing") from None
        if known == "InvalidRange" or (status and status[1] == "416"):
            raise ShortObjectError(f"{url} has fewer bytes than were written") from None
        raise ObjectStoreError(f"{url} {_reason(error, text, known, status)}") from None


def _reason(error: Exception, text: str, code: str, status: re.Match[str] | None) -> str:
    if code == "NoSuchBucket":
        return "is in a bucket that does not exist; allowed: one that is there"
    if "169.254.169.254" in text or "metadata" in text:
        return f"needs credentials, and none were found; allowed: {CREDENTIALS}"
    refused = type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError") or code in EXPIRED
    if refused or (status and status[1] in ("401", "403")):
        what = code or (status[1] if status else "no access")
        return f"is refused ({what}); allowed: {CREDENTIALS} that may read and write it"
    what = (
        f"status {status[1]}"
        if status
        else _cause(str(error)) or text.rpartition(" - ")[2] or type(error).__name__
    )
    what = f"{code} {what}".strip()
    return f"cannot be reached ({what}); nothing is lost: the same run goes on where it stopped"


def _cause(text: str) -> str:
    """What the client met, of all that it says of an error: what the system said, or silence."""
    system = re.search(r'message: "([^"]+)"', text)  # as "Connection refused"
    return system[1] if system else "no answer" if "TimedOut" in text else ""


@dataclass(frozen=True)
class Pointer:
    """What stands in the place of a file that is kept elsewhere.

    Attributes:
        url: of the object.
        bytes: its size.
        sha256: its digest.
    """

    url: str
    bytes: int
    sha256: str

    def contents(self) -> dict[str, Any]:
        """Size and SHA-256 of the object, all of which is read."""
        import obstore

        (client, key), digest, size, total = _open(self.url), hashlib.sha256(), 0, self.bytes
        while size < total:
            options: Any = {"range": (size, min(size + BLOCK, total))}
            try:
                with _told(self.url):
                    found = obstore.get(client, key, options=options)
                    block, total = bytes(found.bytes()), found.meta["size"]
            except ShortObjectError:
                break
            digest.update(block)
            size += len(block)
        return {"bytes": size, "sha256": digest.hexdigest()}

    def ending(self, length: int) -> tuple[int, bytes]:
        """Size of the object and its last bytes, by one request."""
        import obstore

        client, key = _open(self.url)
        # Not every store answers a range that counts from the end.
        options: Any = {"range": (max(0, self.bytes - length), self.bytes)}
        try:
            with _told(self.url):
                found = obstore.get(client, key, options=options)
                return found.meta["size"], bytes(found.bytes())
        except ShortObjectError:
            return 0, b""

    async def read(self, start: int, stop: int) -> bytes:
        """Some bytes of the object."""
        import obstore

        client, key = _open(self.url)
        with _told(self.url):
            return bytes(await obstore.get_range_async(client, key, start=start, end=stop))


def pointed(path: str | Path) -> Pointer | None:
    """The pointer that a file is, None if it is no pointer or not there.

    Raises:
        StoreError: if the pointer is damaged.
    """
    try:
        if not 0 < os.path.getsize(path) <= POINTER_BYTES or not os.path.isfile(path):
            return None
        with open(path, "rb") as stream:
            if not stream.read(32).startswith(f'{{\n  "{POINTER}": '.encode()):
                return None
        record = read_record(path)
    except OSError:
        return None
    return Pointer(record[POINTER], record["bytes"], record["sha256"])


def keep(path: str | Path, place: str | Path | None = None) -> None:
    """Move the bytes of a file to where they are kept, if not here, and leave a pointer.

    Args:
        path: the file.
        place: its path, if it is going to be moved there.

    Raises:
        ObjectStoreError: if the store does not take them; the file is still there.
    """
    url = the_place().address(place or path)
    if url is None:
        return
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    record = {POINTER: url, "bytes": os.path.getsize(path), "sha256": digest}
    _put(url, Path(path))
    write_record(path, record)


def copy(path: str | Path, place: str | Path | None = None) -> None:
    """Copy a file to where those beside it are kept, so that the URL holds what can be read as it is."""
    if url := the_place().address(place or path):
        _put(url, Path(path))


def keep_folder(folder: Path, place: Path) -> None:
    """Keep the chunks of a Zarr folder that is going to be moved to a place; its metadata are copied."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        (copy if path.name == "zarr.json" else keep)(path, place / path.relative_to(folder))


def read(url: str) -> bytes:
    """The whole of an object.

    Raises:
        StoreError: if there is none.
        ObjectStoreError: if the store cannot be asked.
    """
    import obstore

    client, key = _open(url)
    with _told(url):
        return bytes(obstore.get(client, key).bytes())


def listed(url: str) -> Iterator[tuple[str, int]]:
    """URL and size of each object below a URL, as far as the store lists them.

    Raises:
        ObjectStoreError: if the store does not.
    """
    import obstore

    client, key = _open(f"{url.rstrip('/')}/")
    bucket = "/".join(url.split("/")[:3])
    with _told(url):
        for block in obstore.list(client, prefix=key):
            for found in block:
                yield f"{bucket}/{found['path']}", found["size"]


def probe(outputs: Iterable[str | Path]) -> None:
    """Find out before long work whether what it makes can be kept, if some of it lies in Zarr folders.

    Raises:
        ObjectStoreError: if not.
    """
    if (url := the_place().url) and any(".zarr" in str(path) for path in outputs):
        _put(f"{url.rstrip('/')}/{PROBE}", b"results of hessgeo are kept here\n")


def _put(url: str, content: Path | bytes) -> None:
    client, key = _open(url)
    import obstore

    with _told(url):
        obstore.put(client, key, content)
