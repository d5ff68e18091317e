"""S3 keeps the contract, and the faults that only S3 can have."""

from __future__ import annotations

import io
import itertools
import os
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import quote, quote_plus, unquote

import pytest

from keepsake.exceptions import (
    DoesNotExist,
    KeepsakeError,
    PreconditionFailed,
    ReadError,
    RepositoryConfigurationError,
    WriteError,
)
from keepsake.storage import Storage, network, open_storage, s3
from tests.storage import servers
from tests.storage.benches import S3Bench
from tests.storage.contract import MIB, Broken, StorageContract, noise
from tests.storage.proxy import Proxy, Request, reply
from tests.waiting import wait_until


class TestMoto(StorageContract):
    @pytest.fixture
    def bench(self, s3_bench: S3Bench) -> S3Bench:
        return s3_bench


@pytest.fixture
def proxy(s3_bench: S3Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Stands before moto."""
    with Proxy(servers.moto()).running() as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        yield proxy


@pytest.fixture
def proxied(proxy: Proxy, s3_bench: S3Bench) -> Storage:
    """The bench's bucket through the proxy."""
    return open_storage(s3_bench.url)


def error_reply(status: str, code: str) -> bytes:
    return reply(status, f"<Error><Code>{code}</Code><Message>No.</Message></Error>", Content_Type="application/xml")


# Buckets


def test_a_missing_bucket_is_an_error_and_stays_missing(s3_bench: S3Bench) -> None:
    """A mistyped name in `ls` must not create a bucket, and neither must a write unless ensure_writable was called."""
    name = f"missing-{uuid.uuid4().hex}"
    storage = open_storage(f"s3://{name}/root")
    attempts: list[Callable[[], object]] = [
        lambda: list(storage.list("")),
        lambda: storage.get("k"),
        lambda: storage.open("k"),
        lambda: storage.put("k", b""),
        lambda: storage.upload("k", io.BytesIO(bytes(9 * MIB))),
    ]
    for attempt in attempts:
        with pytest.raises(RepositoryConfigurationError, match=rf"(?s){name}.*spelling") as caught:
            attempt()
        assert not isinstance(caught.value, DoesNotExist)
    with pytest.raises(WriteError, match="spelling"):
        storage.delete(["k"])
    assert name not in [bucket["Name"] for bucket in s3_bench.client.list_buckets()["Buckets"]]


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_ensure_writable_makes_the_bucket(s3_bench: S3Bench, monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    monkeypatch.setenv("AWS_REGION", region)
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    name = f"new-{uuid.uuid4().hex}"
    storage = open_storage(f"s3://{name}")
    storage.ensure_writable()
    storage.ensure_writable()
    storage.put("k", b"x")
    assert s3_bench.client.get_object(Bucket=name, Key="k")["Body"].read() == b"x"
    assert s3_bench.client.get_bucket_location(Bucket=name)["LocationConstraint"] in (region, None)


def test_ensure_writable_needs_no_right_to_see_the_bucket(proxy: Proxy, proxied: Storage) -> None:
    """Permissions below a prefix are enough, and another process may create the bucket at the same time."""
    proxy.fault = lambda request: reply("403 Forbidden") if request.method == "HEAD" else None
    proxied.ensure_writable()
    assert [request.method for request in proxy.requests] == ["HEAD"]


def test_a_bucket_that_somebody_else_makes_at_the_same_time_is_fine(proxy: Proxy, proxied: Storage) -> None:
    def fault(request: Request) -> bytes:
        return (
            reply("404 Not Found")
            if request.method == "HEAD"
            else error_reply("409 Conflict", "BucketAlreadyOwnedByYou")
        )

    proxy.fault = fault
    proxied.ensure_writable()
    assert [request.method for request in proxy.requests] == ["HEAD", "PUT"]


# What goes over the line


@pytest.mark.parametrize(
    ("code", "error"), [("ConditionalRequestConflict", PreconditionFailed), ("OperationAborted", WriteError)]
)
def test_a_condition_that_conflicts_with_another_request_is_sent_again(
    proxy: Proxy,
    proxied: Storage,
    s3_bench: S3Bench,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    error: type[KeepsakeError],
) -> None:
    """Both may have been refused, so the object need not be there."""
    monkeypatch.setattr(s3, "_CONFLICTS", 2)
    conflict = error_reply("409 Conflict", code)
    answers = iter([conflict, conflict])
    proxy.fault = lambda request: next(answers, None) if request.method == "PUT" else None
    proxied.put("a", b"1", if_absent=True)
    assert s3_bench.read("a") == b"1"
    proxy.fault = lambda request: conflict if request.method == "PUT" else None
    with pytest.raises(error):
        proxied.put("b", b"2", if_absent=True)


@pytest.mark.parametrize("encode", [partial(quote, safe=""), quote, quote_plus])
def test_keys_that_a_server_encodes_without_saying_so_are_listed(
    proxy: Proxy, proxied: Storage, encode: Callable[[str], str]
) -> None:
    root = proxied.url.partition("://")[2].partition("/")[2]
    key = encode(f"{root}/a/k")
    found = f"<Key>{key}</Key><Size>1</Size><ETag>x</ETag><LastModified>2024-01-01T00:00:00Z</LastModified>"
    listing = f"<ListBucketResult><IsTruncated>false</IsTruncated><Contents>{found}</Contents></ListBucketResult>"
    proxy.fault = lambda request: reply("200 OK", listing, Content_Type="application/xml")
    assert [info.key for info in proxied.list("a")] == ["a/k"]


def test_deleting_many_is_a_handful_of_requests(proxy: Proxy, proxied: Storage) -> None:
    keys = [f"d/{number}" for number in range(250)]
    proxied.delete(keys)
    assert [request.method for request in proxy.requests] == ["POST"] * 3


def test_an_upload_holds_little_in_memory(s3_bench: S3Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the server: no more is read from the source than 64 MiB ahead of what was sent."""
    source = Broken(1 << 30, RuntimeError("stopped by the test"))
    release = threading.Event()
    storage = s3_bench.storage
    real = storage._client.upload_part  # type: ignore[attr-defined]

    under_way: list[object] = []

    def slow(**request: object) -> object:
        under_way.append(request["PartNumber"])
        release.wait(60)
        return real(**request)

    monkeypatch.setattr(storage._client, "upload_part", slow)  # type: ignore[attr-defined]
    outcome: list[BaseException] = []

    def upload() -> None:
        try:
            storage.upload("k", io.BufferedReader(source, 65536))
        except BaseException as error:  # noqa: BLE001
            outcome.append(error)

    thread = threading.Thread(target=upload)
    thread.start()
    wait_until(lambda: len(under_way) == network.PARALLEL + 1)  # no part more is sent before one has arrived
    assert 8 * MIB < (1 << 30) - source.left <= 64 * MIB
    source.left = 0
    release.set()
    thread.join()
    assert [str(error) for error in outcome] == ["stopped by the test"]


def test_a_failed_upload_leaves_no_parts(s3_bench: S3Bench) -> None:
    """They cost money and are invisible."""
    for size, error in itertools.product((9 * MIB, 40 * MIB), (RuntimeError("x"), KeyboardInterrupt())):
        with pytest.raises(type(error)):
            s3_bench.storage.upload("k", io.BufferedReader(Broken(size, error)))
    assert "Uploads" not in s3_bench.client.list_multipart_uploads(Bucket=s3_bench.bucket)


def test_uploads_that_a_crash_left_are_found_and_removed(s3_bench: S3Bench) -> None:
    """Below this root only."""
    for key in (f"{s3_bench.root}/a/k", f"{s3_bench.root}x/other"):
        s3_bench.client.create_multipart_upload(Bucket=s3_bench.bucket, Key=key)
    (found,) = s3_bench.storage.leftovers()
    assert found.key == "a/k"
    s3_bench.storage.remove_leftover(found)
    assert list(s3_bench.storage.leftovers()) == []
    left = s3_bench.client.list_multipart_uploads(Bucket=s3_bench.bucket)["Uploads"]
    assert [upload["Key"] for upload in left] == [f"{s3_bench.root}x/other"]


def test_an_upload_that_goes_on_is_as_old_as_its_last_part(s3_bench: S3Bench, proxy: Proxy, proxied: Storage) -> None:
    """However long ago it began. It is not removed if a part has come since it was found."""
    at = {"Bucket": s3_bench.bucket, "Key": f"{s3_bench.root}/k"}
    number = s3_bench.client.create_multipart_upload(**at)["UploadId"]
    parts = ["2020-02-02T10:00:00.000Z", "2020-02-02T11:00:00.000Z", "2020-02-02T10:30:00.000Z"]

    def fault(request: Request) -> bytes | None:
        if request.method != "GET":
            return None
        if "uploads" in request.target:
            found = f"<Key>{s3_bench.root}/k</Key><UploadId>{number}</UploadId><Initiated>{parts[0]}</Initiated>"
            return reply("200 OK", f"<ListMultipartUploadsResult><Upload>{found}</Upload></ListMultipartUploadsResult>")
        listed = "".join(f"<Part><LastModified>{time}</LastModified></Part>" for time in parts[1:])
        return reply("200 OK", f"<ListPartsResult>{listed}</ListPartsResult>")

    proxy.fault = fault
    (found,) = proxied.leftovers()
    assert found.modified == datetime(2020, 2, 2, 11, tzinfo=timezone.utc).timestamp()
    parts.append("2020-02-02T12:00:00.000Z")
    proxied.remove_leftover(found)
    assert s3_bench.client.list_multipart_uploads(Bucket=s3_bench.bucket)["Uploads"]
    (found,) = proxied.leftovers()
    proxied.remove_leftover(found)
    assert "Uploads" not in s3_bench.client.list_multipart_uploads(Bucket=s3_bench.bucket)
    proxy.fault = lambda request: None
    proxied.remove_leftover(found)


AT_EXIT = """
import atexit, io, sys, threading
from keepsake.storage import open_storage
storage = open_storage(sys.argv[1])
def last_words():
    storage.upload("late", io.BytesIO(bytes(range(256)) * 80_000))
    with storage.open("late") as stream:
        assert stream.read() == bytes(range(256)) * 80_000
    assert len(list(storage.get_many(["late"]))) == 1
    storage.delete(["late"])
    storage.put("done", b"yes")
atexit.register(last_words)
thread = threading.Thread(target=lambda: (threading.main_thread().join(), last_words()))
thread.start()
"""


@pytest.mark.filterwarnings("default")
def test_everything_works_while_the_interpreter_exits(s3_bench: S3Bench) -> None:
    """In an exit handler, and in a thread that outlives the main one. No thread can start then."""
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT, s3_bench.url],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert s3_bench.contents() == {"done": b"yes"}


# Servers without conditions


def test_a_server_that_knows_no_ranges_is_an_error(proxy: Proxy, proxied: Storage) -> None:
    """It sends the whole object: to take that for the part asked for would be silent damage."""
    proxy.fault = lambda request: reply("200 OK", "whole", ETag='"x"')
    with pytest.raises(ReadError, match="whole object instead of a part"):
        proxied.open("k", start=2)
    assert proxied.get("k") == (b"whole", "x")


REFUSALS = [
    error_reply("501 Not Implemented", "NotImplemented"),
    error_reply("400 Bad Request", "InvalidArgument"),
    reply("405 Method Not Allowed"),
    reply("501 Not Implemented"),
]


@pytest.mark.parametrize(
    "refusal",
    [*REFUSALS, error_reply("412 Precondition Failed", "PreconditionFailed"), reply("412 Precondition Failed")],
)
def test_a_server_that_refuses_conditions_gets_none(proxy: Proxy, proxied: Storage, refusal: bytes) -> None:
    """The condition is then looked at beforehand only. A server whose etags are all weak finds that none matches."""

    def fault(request: Request) -> bytes | None:
        conditional = {"if-match", "if-none-match"} & request.headers.keys()
        return refusal if conditional and request.method == "PUT" else None

    proxy.fault = fault
    etag = proxied.put("k", b"1", if_absent=True)
    etag = proxied.put("k", b"2", if_match=etag)
    assert proxied.get("k") == (b"2", etag)
    for condition in ({"if_absent": True}, {"if_match": "old"}):
        with pytest.raises(PreconditionFailed):
            proxied.put("k", b"3", **condition)
    assert proxied.get("k") == (b"2", etag)


# Servers with habits of their own


def test_an_update_that_another_writer_replaces_at_the_same_moment_is_noticed(
    proxy: Proxy, proxied: Storage, s3_bench: S3Bench
) -> None:
    """Both had checked the same version, and the server knows no conditions."""
    etag = proxied.put("k", b"1")
    checks = itertools.count()

    def fault(request: Request) -> None:
        request.head = re.sub(rb"(?i)if-match:.*?\r\n", b"", request.head)
        if request.method == "HEAD" and next(checks) == 1:
            s3_bench.write("k", b"theirs")

    proxy.fault = fault
    with pytest.raises(PreconditionFailed):
        proxied.put("k", b"ours", if_match=etag)
    assert s3_bench.contents() == {"k": b"theirs"}


@pytest.mark.parametrize(
    "refusal",
    [
        *REFUSALS,
        *(reply("200 OK"), reply("200 OK", "<DeleteResult/>"), reply("404 Not Found")),
        error_reply("403 Forbidden", "SignatureDoesNotMatch"),
    ],
)
def test_what_a_batch_does_not_delete_is_deleted_singly(
    proxy: Proxy, proxied: Storage, s3_bench: S3Bench, refusal: bytes
) -> None:
    """The server refuses batches, their checksum, or says nothing of what it did."""
    s3_bench.seed(dict.fromkeys(("a", "b", "c"), b"x"))
    proxy.fault = lambda request: refusal if request.method == "POST" else None
    proxied.delete(["a", "b", "nope"])
    assert s3_bench.contents() == {"c": b"x"}
    assert [request.method for request in proxy.requests] == ["POST", "DELETE", "DELETE", "DELETE"]


def test_a_refused_deletion_is_not_tried_again(proxy: Proxy, proxied: Storage) -> None:
    """The message gives the reason and ten of the names."""
    proxy.fault = lambda request: error_reply("403 Forbidden", "AccessDenied")
    with pytest.raises(WriteError, match=r"(?s)delete 30 objects.*s3:DeleteObject.*test/k0: No .AccessDenied.*20 more"):
        proxied.delete(f"k{number}" for number in range(30))
    assert len(proxy.requests) == 1


def test_credentials_that_may_list_only_the_repository_find_what_is_missing(
    proxy: Proxy, proxied: Storage, s3_bench: S3Bench
) -> None:
    """Without the permission to list the bucket, S3 refuses to say that an object is missing."""

    def fault(request: Request) -> bytes | None:
        name = unquote(request.target).partition("?")[0].partition(f"{s3_bench.root}/")[2]
        if request.method not in ("GET", "HEAD") or not name or name in s3_bench.listed():
            return None
        return reply("403 Forbidden") if request.method == "HEAD" else error_reply("403 Forbidden", "AccessDenied")

    proxy.fault = fault
    with pytest.raises(DoesNotExist):
        proxied.get("k")
    with pytest.raises(DoesNotExist):
        proxied.open("k")
    etag = proxied.put("k", b"1", if_absent=True)
    for condition in ({"if_absent": True}, {"if_match": "old"}):
        with pytest.raises(PreconditionFailed):
            proxied.put("k", b"2", **condition)
    proxied.put("k", b"3", if_match=etag)
    assert proxied.get("k")[0] == b"3"
    proxy.fault = lambda request: error_reply("403 Forbidden", "AccessDenied") if "/k" in request.target else None
    with pytest.raises(RepositoryConfigurationError, match="AccessDenied"):
        proxied.get("k")


@pytest.mark.parametrize("is_ours", [True, False])
def test_an_upload_that_is_finished_though_the_answer_was_lost_is_not_sent_again(
    proxy: Proxy, proxied: Storage, s3_bench: S3Bench, is_ours: bool
) -> None:
    """The server then knows no such upload. An object that was there before is no proof."""
    content = noise(9 * MIB)
    s3_bench.write("k", content)
    gone = error_reply("404 Not Found", "NoSuchUpload")
    answers: Iterator[bytes | str] = iter(["lost", gone] if is_ours else [gone])

    def fault(request: Request) -> bytes | str | None:
        is_end = request.method == "POST" and "uploadId" in request.target
        return next(answers, None) if is_end else None

    proxy.fault = fault
    if is_ours:
        proxied.upload("k", io.BytesIO(content))
        assert s3_bench.read("k") == content
    else:
        with pytest.raises(WriteError, match="NoSuchUpload"):
            proxied.upload("k", io.BytesIO(content))
    assert sum("?uploads" in request.target for request in proxy.requests) == 1


@pytest.mark.parametrize(
    "refusal",
    [error_reply("400 Bad Request", "InvalidRequest"), error_reply("411 Length Required", "MissingContentMD5")],
)
def test_content_is_sent_with_a_checksum_where_one_is_demanded(
    proxy: Proxy, proxied: Storage, s3_bench: S3Bench, refusal: bytes
) -> None:
    """A bucket with Object Lock demands one. The storage remembers that after the first time."""

    def fault(request: Request) -> bytes | None:
        if request.method != "PUT" or "content-md5" in request.headers:
            return None
        return refusal

    proxy.fault = fault
    large = noise(9 * MIB)
    etag = proxied.put("k", b"1", if_absent=True)
    proxied.upload("large", io.BytesIO(large))
    with pytest.raises(PreconditionFailed):
        proxied.put("k", b"2", if_match="old")
    proxied.put("k", b"2", if_match=etag)
    assert s3_bench.contents() == {"k": b"2", "large": large}
    puts = [request for request in proxy.requests if request.method == "PUT"]
    assert ["content-md5" in request.headers for request in puts] == [False, *[True] * (len(puts) - 1)]


def test_a_server_that_knows_no_start_after_is_listed(proxy: Proxy, proxied: Storage, s3_bench: S3Bench) -> None:
    """One page comes after the other."""
    keys = [f"m/{noise(6, number).hex()}.json" for number in range(250)]
    s3_bench.seed(dict.fromkeys(keys, b""))

    def fault(request: Request) -> None:
        request.head = re.sub(rb"start-after=[^& ]*", b"", request.head)

    proxy.fault = fault
    assert [info.key for info in proxied.list("m")] == sorted(keys)


@pytest.mark.parametrize("mark", [b'W/"%b"', b"%b"], ids=["weak", "without quotes"])
def test_an_etag_is_the_same_however_it_is_marked(
    proxy: Proxy, proxied: Storage, s3_bench: S3Bench, mark: bytes
) -> None:
    """A proxy that compresses marks etags as weak; only strong ones ever match a condition."""
    proxy.rewrite = lambda head: re.sub(rb'(?i)etag: "(\w+)"', lambda found: b"ETag: " + mark % found[1], head)
    etag = proxied.put("k", b"1", if_absent=True)
    assert [info.etag for info in proxied.list("")] == [etag]
    etag = proxied.put("k", b"2", if_match=etag)
    assert proxied.get("k") == (b"2", etag)
    data = noise(20 * MIB)
    proxied.upload("large", io.BytesIO(data))
    with proxied.open("large") as stream:
        assert stream.read() == data
    assert s3_bench.contents() == {"k": b"2", "large": data}


def test_a_part_of_another_place_is_an_error(proxy: Proxy, proxied: Storage) -> None:
    proxy.fault = lambda request: reply("206 Partial Content", "part", ETag='"x"', Content_Range="bytes 0-3/10")
    with pytest.raises(ReadError, match="another part"):
        proxied.open("k", start=2, length=4)


@pytest.mark.parametrize("status", ["405 Method Not Allowed", "501 Not Implemented"])
def test_a_server_that_shows_no_buckets_may_have_ours(proxy: Proxy, proxied: Storage, status: str) -> None:
    """The first write shows whether it can be written to."""
    proxy.fault = lambda request: reply(status) if request.method == "HEAD" else None
    proxied.ensure_writable()
    proxied.put("k", b"x")


# Errors say what to do


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        ("403 Forbidden", "AccessDenied", "s3:PutObject"),
        ("403 Forbidden", "InvalidAccessKeyId", "AWS_PROFILE"),
        ("403 Forbidden", "SignatureDoesNotMatch", "AWS_ACCESS_KEY_ID"),
        ("400 Bad Request", "ExpiredToken", "aws sso login"),
        ("400 Bad Request", "", "credentials have expired"),  # such as to a HEAD, whose answer has no text
        ("403 Forbidden", "RequestTimeTooSkewed", "clock"),
        ("404 Not Found", "NoSuchBucket", "spelling"),
        ("400 Bad Request", "AuthorizationHeaderMalformed", "AWS_REGION"),
        ("401 Unauthorized", "InvalidClientTokenId", "aws sso login"),
        ("403 Forbidden", "PathStyleDomainForbidden", "addressing_style = virtual"),
    ],
)
def test_the_servers_refusals_say_what_to_do(
    proxy: Proxy, s3_bench: S3Bench, status: str, code: str, advice: str
) -> None:
    """Each names the URL, the server's word, and the way out; whatever was asked for."""
    storage = open_storage(s3_bench.url)
    proxy.fault = lambda request: error_reply(status, code)
    attempts: list[Callable[[], object]] = [
        lambda: storage.get("k"),
        lambda: list(storage.list("")),
        lambda: storage.put("k", b""),
        lambda: storage.upload("k", io.BytesIO(bytes(9 * MIB))),
    ]
    for attempt in attempts:
        with pytest.raises(RepositoryConfigurationError, match=rf"(?s){code}.*{advice}") as caught:
            attempt()
        assert storage.url in str(caught.value)
        assert caught.value.__cause__ is not None
    with pytest.raises(WriteError, match=rf"(?s){advice}.*{code}"):
        storage.delete(["a", "b"])


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("variable", "value", "advice"),
    [
        ("AWS_ACCESS_KEY_ID", None, "aws configure"),
        ("AWS_PROFILE", "nope", "AWS_PROFILE"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9", "http://127.0.0.1:9 is the right server"),
        ("AWS_ENDPOINT_URL", "moto as https", "does not speak HTTPS"),
        ("AWS_ENDPOINT_URL", "localhost:9000", "with its scheme"),
        ("AWS_ENDPOINT_URL", "http://", "AWS_ENDPOINT_URL"),
        ("AWS_ENDPOINT_URL", "http://me:secret@127.0.0.1:9", "http://127.0.0.1:9 is the right server"),
        ("AWS_ENDPOINT_URL", "http://no-such-host.invalid", "http://no-such-host.invalid is the right server"),
        ("HTTP_PROXY", "http://me:secret@127.0.0.1:9", "HTTP_PROXY"),
        ("AWS_DEFAULTS_MODE", "never", "~/.aws/config"),
        ("AWS_SESSION_TOKEN", "secret\n", "line break.*aws sso login"),
    ],
)
def test_a_wrong_environment_is_reported(
    s3_bench: S3Bench, monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None, advice: str
) -> None:
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, servers.moto().replace("http:", "https:") if "moto" in value else value)
    with pytest.raises(KeepsakeError, match=advice) as caught:
        list(open_storage(s3_bench.url).list(""))
    text = str(caught.value)
    assert s3_bench.url in text
    assert not any(word in text for word in ("secret", "?", "prefix", "\n")), "a line without the request"


def test_a_token_of_kubernetes_that_is_not_there_is_named(
    s3_bench: S3Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The network has nothing to do with it."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/trainer")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(
        RepositoryConfigurationError, match=rf"{re.escape(str(tmp_path / 'token'))} cannot be read.*Log"
    ):
        open_storage(s3_bench.url).get("k")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("way", ["body", "header"])
def test_a_bucket_elsewhere_is_reported_with_its_region(proxy: Proxy, s3_bench: S3Bench, way: str) -> None:
    body = f"<Error><Code>PermanentRedirect</Code>{'<Region>eu-west-3</Region>' if way == 'body' else ''}</Error>"
    headers = {"x_amz_bucket_region": "eu-west-3"} if way == "header" else {}
    proxy.fault = lambda request: reply("301 Moved", body, Content_Type="application/xml", **headers)
    with pytest.raises(RepositoryConfigurationError, match="AWS_REGION=eu-west-3"):
        open_storage(s3_bench.url).get("k")


@pytest.mark.parametrize("call", ["endpoint.Endpoint.make_request", "awsrequest.AWSConnection.request"])
def test_a_server_that_redirects_without_end_is_reported(
    s3_bench: S3Bench, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """The SDK follows each redirection, until it has called itself too often. Some of its calls wrap that error."""
    storage = open_storage(s3_bench.url)
    monkeypatch.setattr(f"botocore.{call}", Mock(side_effect=RecursionError("too deep")))
    with pytest.raises(RepositoryConfigurationError, match=r"redirects without end.*Set AWS_REGION"):
        storage.get("k")


@pytest.mark.parametrize("bucket", ["UPPER_case", "a b", "x"])
def test_an_impossible_bucket_is_reported(s3_bench: S3Bench, bucket: str) -> None:
    with pytest.raises(RepositoryConfigurationError, match="spelling"):
        open_storage(f"s3://{bucket}").put("k", b"")
