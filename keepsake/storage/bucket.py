"""The base class of storage in buckets. It builds the contract on single requests, and advice on errors.

A backend makes single requests with its SDK and explains its SDK's errors. Everything else is here.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from itertools import islice
from typing import BinaryIO, NamedTuple

from keepsake.exceptions import (
    DoesNotExist,
    KeepsakeError,
    MissingBucket,
    PreconditionFailed,
    ReadError,
    RepositoryConfigurationError,
    WriteError,
)
from keepsake.storage import network
from keepsake.storage.base import ObjectInfo, Storage, check_key
from keepsake.storage.downloads import Download, Fetched, fetch, open_ranges
from keepsake.util.clock import monotonic
from keepsake.util.console import plural

_OF_OBJECTS = (DoesNotExist, PreconditionFailed)
_RENEWAL_SECONDS = 1.0  # many requests fail at once
_WEB_PAGE = re.compile(rb"<(!doctype html|html)\b", re.IGNORECASE)
_URL = re.compile(r"""\b(\w+://)(?:[^\s/'"<>]*@)?([^\s/?#'"<>]*)[^\s'"<>]*""")
# Tags, representations of Python objects, and targets of requests.
_NOISE = re.compile(r"<[^<>]*>|HTTPS?Connection(?:Pool)?\([^()]*\): |with url: \S+")


def refuse_web_page(status: int, body: bytes) -> None:
    """Raise Unexpected if an answer is a web page, unless the SDK will try again."""
    if status < 500 and status not in (408, 429) and _WEB_PAGE.search(body[:512]):
        raise network.Unexpected("a web page")


def origin(text: str) -> str:
    """Return a text with each URL cut to its scheme, host and port, because the rest may be secret."""
    return _URL.sub(r"\1\2", text)


def one_line(text: str) -> str:
    """Return an SDK's message as one readable line, without the addresses of single requests."""
    text = _NOISE.sub(" ", origin(text))
    text = " ".join(text.split()).rstrip(".: ")
    return f"{text[:200]}…" if len(text) > 200 else text


class Trouble(NamedTuple):
    """The meaning of an SDK's error."""

    reason: str
    advice: str | None = None  # None: the trouble may be temporary
    kind: type[KeepsakeError] | None = None  # None: ReadError or WriteError, depending on the operation


class BucketStorage(Storage):
    """Objects of a bucket whose names begin with `root/`. A name consists of the root and a key."""

    seconds_between_writes = 1.0
    cloud: str  # its name in messages
    batch: int  # the most names that one request deletes
    settings: str  # where the user sets up the SDK
    log_in: str  # the advice after errors of credentials
    unreachable: tuple[type[Exception], ...]  # errors of requests that no server answered

    def __init__(self, scheme: str, bucket: str, root: str) -> None:
        self.url = f"{scheme}://{bucket}/{root}".rstrip("/").replace("%", "%25")
        self._root = root + "/" if root else ""
        self._clock = network.Clock()
        self._endpoint = ""
        self._connected = monotonic()
        with self._errors("open"):
            self._connect()
        network.threads(), network.movers()  # early, because no thread can start while the interpreter exits

    # What a backend does with its SDK. These methods may raise any exception.

    @abstractmethod
    def _connect(self) -> None:
        """Make the client, without a request, and set `_endpoint`."""

    @abstractmethod
    def _receive(self, name: str, download: Download) -> None:
        """Make one request for what is missing of a download. Raises Cut if the connection is cut, and Changed."""

    @abstractmethod
    def _put(self, name: str, data: bytes, if_absent: bool, if_match: str | None) -> str: ...

    @abstractmethod
    def _upload(self, name: str, first: bytes, source: BinaryIO) -> None:
        """Upload `first` and the rest of `source`. Errors of the source pass unchanged; others are explained."""

    @abstractmethod
    def _page(self, prefix: str, after: str, token: str | None) -> network.Page: ...

    @abstractmethod
    def _delete_batch(self, names: Sequence[str]) -> dict[str, Exception]:
        """Delete by one request; return the names that were not deleted, with the reasons."""

    @abstractmethod
    def _delete_one(self, name: str) -> None: ...

    @abstractmethod
    def _make_bucket(self) -> None:
        """Create the bucket unless it exists, or these credentials may not see it."""

    @abstractmethod
    def _ask(self) -> None:
        """Make a small request. Its answer, even a refusal, carries the server's date."""

    @abstractmethod
    def _explain(self, error: Exception) -> Trouble:
        """Return the meaning of an SDK's error."""

    def _get(self, name: str) -> tuple[bytes, str]:
        """Return the content and the etag of an object."""
        found = fetch(partial(self._receive, name))
        return found.data, found.version

    # The contract

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> AbstractContextManager[BinaryIO]:
        name = self._name(key)

        def fetch_range(first: int, stop: int | None, version: str | None) -> Fetched:
            with self._errors("read", name):
                return fetch(partial(self._receive, name), first, stop, version)

        return open_ranges(fetch_range, self._place(name), start, length)

    def get(self, key: str) -> tuple[bytes, str]:
        name = self._name(key)
        with self._errors("read", name):
            return self._get(name)

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        name = self._name(key)
        with self._errors("write", name):
            return self._put(name, data, if_absent, if_match)

    def upload(self, key: str, source: BinaryIO) -> None:
        name = self._name(key)
        first = network.read_part(source)
        if len(first) < network.PART:
            self.put(key, first)
        else:
            self._upload(name, first, source)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        start = check_key(prefix) + "/" if prefix else ""
        return self._list(start)

    def delete(self, keys: Iterable[str]) -> None:
        names = [self._name(key) for key in keys]
        batches = (names[start : start + self.batch] for start in range(0, len(names), self.batch))
        failed: dict[str, Exception] = {}
        for left in network.in_parallel(partial(self._try_batch, batch) for batch in batches):
            failed.update(left)
        again = [name for name, error in failed.items() if self._may_work_singly(error)]
        for name, error in network.in_parallel(partial(self._try_one, name) for name in again):
            if error:
                failed[name] = error
            else:
                del failed[name]
        if failed:
            raise self._undeleted(failed)

    def ensure_writable(self) -> None:
        with self._errors("write to"):
            self._make_bucket()

    def now(self) -> float:
        if self._clock.offset is None:
            with self._errors("read"):
                self._ask()
        return self._clock.now()

    def get_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes, str]]:
        jobs = (partial(self._get_if_there, key) for key in keys)
        return (found for found in network.in_parallel(jobs) if found)

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._errors("list", self._root + prefix):
            yield from network.list_pages(partial(self._page, prefix), prefix)

    def _try_batch(self, names: Sequence[str]) -> dict[str, Exception]:
        try:
            return self._delete_batch(names)
        except Exception as error:  # noqa: BLE001 - servers without batches refuse them in many ways
            return dict.fromkeys(names, error)

    def _try_one(self, name: str) -> tuple[str, Exception | None]:
        try:
            self._delete_one(name)
        except Exception as error:  # noqa: BLE001 - every object is tried
            return name, error
        return name, None

    def _may_work_singly(self, error: Exception) -> bool:
        kind = self._explain(error).kind
        return not isinstance(error, self.unreachable) and (kind is None or kind in _OF_OBJECTS)

    def _undeleted(self, failed: dict[str, Exception]) -> WriteError:
        reasons = {name: self._explain(error) for name, error in failed.items()}
        lines = [f"{self._place(name)}: {trouble.reason}" for name, trouble in islice(reasons.items(), 10)]
        if len(failed) > len(lines):
            lines.append(f"… and {len(failed) - len(lines)} more")
        advice = next((trouble.advice for trouble in reasons.values() if trouble.advice), "Try again.")
        error = WriteError("\n".join([f"Could not delete {plural(len(failed), 'object')}. {advice}", *lines]))
        error.__cause__ = next(iter(failed.values()))
        return error

    # Names and errors

    def _name(self, key: str) -> str:
        return self._root + check_key(key)

    def _place(self, name: str) -> str:
        """Return the URL of a name, for messages."""
        return f"{self.url}/{name[len(self._root) :]}".rstrip("/")

    def _changed(self, name: str) -> PreconditionFailed:
        return PreconditionFailed(f"Another process wrote {self._place(name)} first. Read it again.")

    @contextmanager
    def _errors(self, verb: str, name: str = "") -> Iterator[None]:
        """Turn all errors of the SDK into errors of Keepsake. A server's nonsense makes an SDK raise anything."""
        try:
            yield
        except KeepsakeError:
            raise
        except Exception as error:
            raise self._error(verb, name, error) from error

    def _error(self, verb: str, name: str, error: Exception) -> KeepsakeError:
        reason, advice, kind = self._explain(error)
        if advice == self.log_in:
            self._renew()
        place = self._place(name)
        if kind is DoesNotExist and verb == "read":
            return DoesNotExist(f"{place} does not exist.")
        if kind is PreconditionFailed and verb == "write":
            return self._changed(name)
        if kind is DoesNotExist and advice:  # the request was not about an object, so the bucket is missing
            kind = MissingBucket
        if verb == "open" and kind is None:  # no server has answered yet
            reason, advice, kind = one_line(str(error)), f"Check {self.settings}.", RepositoryConfigurationError
        if kind in _OF_OBJECTS or kind is None:
            kind = ReadError if verb in ("read", "list") else WriteError
        if advice is None:
            advice = f"Check the network and whether {self._endpoint} is the right server; then try again."
        return kind(f"Could not {verb} {place}: {reason}. {advice}")

    def _renew(self) -> None:
        """Connect anew, because somebody may have renewed the credentials while this process runs."""
        if monotonic() - self._connected > _RENEWAL_SECONDS:
            self._connected = monotonic()
            with suppress(Exception):  # the first error matters more
                self._connect()

    def _not_understood(self, error: Exception) -> Trouble:
        """Explain an error that no SDK should raise."""
        if isinstance(error, network.Unexpected):
            reason = f"The server answered with {error}, and {self.cloud} never does that"
        else:
            reason = f"{self.cloud} does not answer like this server ({type(error).__name__}: {one_line(str(error))})"
        return Trouble(
            reason,
            f"Check whether {self._endpoint} is the right server, and whether a proxy or a login page is in between.",
        )
