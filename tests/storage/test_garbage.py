"""Answers that no bucket gives: only errors of Keepsake are raised, and nothing is taken for content."""

from __future__ import annotations

import gc
import io
import itertools
from collections.abc import Callable, Iterator

import pytest
from google.cloud.storage.retry import DEFAULT_RETRY

from keepsake.exceptions import DoesNotExist, KeepsakeError, PreconditionFailed, WriteError
from keepsake.storage import Storage, downloads, gcs, open_storage, s3
from tests.storage import servers
from tests.storage.contract import MIB, noise
from tests.storage.places import lead_to_gcs, lead_to_s3
from tests.storage.proxy import Proxy, Request, reply

# The SDK leaves a connection open after an answer that it cannot parse
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

HTML = {"Content_Type": "text/html"}
PAGE = "<!DOCTYPE html>\n<html><head><title>Guest Wi-Fi</title></head><body>Please log in</body></html>"
LISTING = "<ListBucketResult><Name>b</Name><IsTruncated>false</IsTruncated><Contents><Key>a/k"

GARBAGE = {
    "a login page": reply("200 OK", PAGE, **HTML),
    "a login page with an etag": reply("200 OK", PAGE, **HTML, ETag='"5f"', Content_Range="bytes 0-9/9"),
    "a way to a login page": reply("302 Found", PAGE, **HTML, Location="http://127.0.0.1:9/login"),
    "a page for a refusal": reply("403 Forbidden", PAGE, **HTML),
    "a page for what is missing": reply("404 Not Found", PAGE, **HTML),
    "a page for an outage": reply("502 Bad Gateway", PAGE, **HTML),
    "nothing": reply("200 OK"),
    "no content": reply("204 No Content"),
    "a word": reply("200 OK", "OK", Content_Type="text/plain"),
    "half of a listing": reply("200 OK", LISTING, Content_Type="application/xml"),
    "other XML": reply("200 OK", "<a><b>c</b></a>", Content_Type="application/xml"),
    "other JSON": reply("200 OK", '{"login": "required"}', Content_Type="application/json"),
    "a list in JSON": reply("200 OK", "[1]", Content_Type="application/json"),
    "null": reply("200 OK", "null", Content_Type="application/json"),
    "half of some JSON": reply("200 OK", '{"items": [{"na', Content_Type="application/json"),
    "items of nothing": reply("200 OK", '{"items": [{}], "kind": 1}', Content_Type="application/json"),
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\nConnection: close\r\n\r\n",
    "fewer bytes than said": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nfew",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: few\r\nConnection: close\r\n\r\nfew",
    "no length": b'HTTP/1.1 200 OK\r\nETag: "x"\r\nConnection: close\r\n\r\nfew',
    "what claims to be compressed": reply("200 OK", "no gzip", Content_Encoding="gzip"),
    "an error in bad XML": reply("400 Bad Request", "<Error><Code>", Content_Type="application/xml"),
    "a status that is none": b"HTTP/1.1 999 Hm\r\nContent-Length: 0\r\n\r\n",
    "an end": b"\r\nConnection: close\r\n\r\n",
}

READING: dict[str, Callable[[Storage], object]] = {
    "get": lambda storage: storage.get("k"),
    "open": lambda storage: storage.open("k").__enter__().read(),
    "open the end": lambda storage: storage.open("k", start=-10).__enter__().read(),
    "get_many": lambda storage: list(storage.get_many(["a", "b"])),
    "list": lambda storage: list(storage.list("a")),
}
WRITING: dict[str, Callable[[Storage], object]] = {
    "put": lambda storage: storage.put("k", b"x"),
    "put if absent": lambda storage: storage.put("k", b"x", if_absent=True),
    "put if it matches": lambda storage: storage.put("k", b"x", if_match="1"),
    "upload": lambda storage: storage.upload("k", io.BytesIO(bytes(9 * MIB))),
}
# A server that answers nonsense in words of success is believed: nothing is lost by that
OTHERS: dict[str, Callable[[Storage], object]] = {
    "delete one": lambda storage: storage.delete(["k"]),
    "delete": lambda storage: storage.delete(["k", "l"]),
    "ensure_writable": lambda storage: storage.ensure_writable(),
    "now": lambda storage: storage.now(),
    "leftovers": lambda storage: list(storage.leftovers()),
}


@pytest.fixture(params=["s3", "gs"])
def proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Stands before a server of each protocol, and its clients have little patience."""
    is_s3 = request.param == "s3"
    monkeypatch.setattr(s3, "_ATTEMPTS", 1)
    monkeypatch.setattr(downloads, "_PAUSE", 0.0)
    monkeypatch.setattr(gcs, "_PATIENCE", {"timeout": (1, 5), "retry": DEFAULT_RETRY.with_timeout(0)})
    with Proxy(servers.moto() if is_s3 else servers.fake_gcs()).running() as proxy:
        (lead_to_s3 if is_s3 else lead_to_gcs)(monkeypatch, proxy.address)
        yield proxy
    gc.collect()


@pytest.fixture
def storage(proxy: Proxy, request: pytest.FixtureRequest) -> Storage:
    return open_storage(f"{request.node.callspec.params['proxy']}://a-bucket/root")


def check(error: KeepsakeError, storage: Storage, what: object) -> None:
    """It names the repository and says what to do, in a line without the requests of the SDK."""
    text = str(error)
    assert storage.url in text, what
    assert ("\n" in text) == ("Could not delete" in text), (what, text)
    assert not any(noise in text for noise in ("?", "<", "prettyPrint", " object at 0x", "X-Amz")), (what, text)
    assert max(map(len, text.split("\n"))) < 700, (what, text)
    assert error.__cause__ is not None or isinstance(error, PreconditionFailed), what


@pytest.mark.parametrize("garbage", GARBAGE)
def test_only_our_errors_come_out(proxy: Proxy, storage: Storage, garbage: str) -> None:
    proxy.fault = lambda request: GARBAGE[garbage]
    for verb, call in {**READING, **WRITING}.items():
        with pytest.raises(KeepsakeError) as caught:
            print(verb, call(storage))
        check(caught.value, storage, verb)
        assert not isinstance(caught.value, DoesNotExist), verb
    for verb, call in OTHERS.items():
        try:
            call(storage)
        except KeepsakeError as error:
            check(error, storage, verb)


@pytest.mark.parametrize("garbage", ["a login page", "nothing", "a word", "other XML", "fewer bytes than said"])
def test_an_upload_that_meets_nonsense_on_its_way_fails(proxy: Proxy, storage: Storage, garbage: str) -> None:
    """At each of its requests: what was not taken is not believed to be there."""
    storage.ensure_writable()
    storage.delete(["k"])  # the bucket is the one of the tests before
    steps = 0
    while _meets(proxy, storage, step=steps, answer=GARBAGE[garbage]):
        assert list(storage.list("")) == []
        steps += 1
    assert steps > 2
    assert [info.key for info in storage.list("")] == ["k"]


def _meets(proxy: Proxy, storage: Storage, step: int, answer: bytes) -> bool:
    """Upload something and answer one of the requests. Return False if there are fewer: then nothing is wrong."""
    numbers, met = itertools.count(), list[Request]()

    def fault(request: Request) -> bytes | None:
        if next(numbers) != step:
            return None
        met.append(request)
        return answer

    proxy.fault = fault
    try:
        storage.upload("k", io.BytesIO(noise(20 * MIB)))
    except WriteError as error:
        assert met, error
        assert "/k" in str(error)
    else:
        assert not met, f"the upload succeeds though request {step} met nonsense"
    proxy.fault = lambda request: None
    return bool(met)
