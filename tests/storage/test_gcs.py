"""Google Cloud Storage keeps the contract, and the faults that only it can have."""

from __future__ import annotations

import io
import itertools
import json
import re
import time
import urllib.error
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from keepsake.exceptions import (
    DoesNotExist,
    KeepsakeError,
    PreconditionFailed,
    ReadError,
    RepositoryConfigurationError,
    WriteError,
)
from keepsake.storage import Storage, open_storage
from tests.storage import servers
from tests.storage.benches import GCSBench
from tests.storage.contract import MIB, StorageContract, noise
from tests.storage.proxy import Proxy, Request, reply


class TestFakeGCS(StorageContract):
    @pytest.fixture
    def bench(self, gcs_bench: GCSBench) -> GCSBench:
        return gcs_bench


@pytest.fixture
def proxy(gcs_bench: GCSBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Stands before fake-gcs-server."""
    with Proxy(servers.fake_gcs()).running() as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.address)
        yield proxy


@pytest.fixture
def proxied(proxy: Proxy, gcs_bench: GCSBench) -> Storage:
    """The bench's bucket through the proxy."""
    return open_storage(gcs_bench.url)


# Buckets


def test_a_missing_bucket_is_an_error_and_stays_missing(gcs_bench: GCSBench) -> None:
    """A mistyped name in `ls` must not create a bucket, and neither must a write unless ensure_writable was called."""
    name = f"missing-{uuid.uuid4().hex}"
    storage = open_storage(f"gs://{name}/root")
    attempts: list[Callable[[], object]] = [
        lambda: list(storage.list("")),
        lambda: storage.put("k", b""),
        lambda: storage.upload("k", io.BytesIO(bytes(9 * MIB))),
    ]
    for attempt in attempts:
        with pytest.raises(RepositoryConfigurationError, match=rf"(?s){name}.*spelling"):
            attempt()
    with pytest.raises(DoesNotExist):
        storage.get("k")
    with pytest.raises(urllib.error.HTTPError) as refused:
        gcs_bench.call("GET", f"/storage/v1/b/{name}")
    refused.value.close()


def test_a_missing_bucket_is_distinguished_from_a_missing_object(proxy: Proxy, proxied: Storage) -> None:
    """The text that Google's servers send tells them apart."""
    proxy.fault = lambda request: reply("404 Not Found", "The specified bucket does not exist.")
    with pytest.raises(RepositoryConfigurationError, match="spelling"):
        proxied.get("k")
    proxy.fault = lambda request: reply("404 Not Found", "No such object: bucket/k")
    with pytest.raises(DoesNotExist):
        proxied.get("k")


def test_ensure_writable_makes_the_bucket(gcs_bench: GCSBench) -> None:
    name = f"new-{uuid.uuid4().hex}"
    storage = open_storage(f"gs://{name}")
    storage.ensure_writable()
    storage.ensure_writable()
    storage.put("k", b"x")
    assert gcs_bench.call("GET", f"/storage/v1/b/{name}/o/k?alt=media") == b"x"


def test_ensure_writable_needs_no_right_to_see_the_bucket(proxy: Proxy, proxied: Storage) -> None:
    """Permissions below a prefix are enough, and another process may create the bucket at the same time."""
    proxy.fault = lambda request: reply("403 Forbidden", "{}")
    proxied.ensure_writable()
    proxy.fault = lambda request: reply("404 Not Found" if request.method == "GET" else "409 Conflict", "{}")
    proxied.ensure_writable()
    assert [request.method for request in proxy.requests] == ["GET", "GET", "POST"]


# What goes over the line


def test_nothing_is_asked_for_behind_our_back(proxy: Proxy, proxied: Storage) -> None:
    """There is one request per operation. The SDK would also look the bucket up, which needs more permissions."""
    proxied.put("k", b"x")
    proxied.get("k")
    list(proxied.list(""))
    with pytest.raises(DoesNotExist):
        proxied.get("nope")
    time.sleep(0.2)  # the SDK would ask in a thread of its own
    assert [request.method for request in proxy.requests] == ["POST", "GET", "GET", "GET"]


def test_deleting_many_is_a_handful_of_requests(proxy: Proxy, proxied: Storage) -> None:
    """A batch has a hundred, and the answer about each object counts."""

    def fault(request: Request) -> bytes | None:
        if not request.target.startswith("/batch/"):
            return None
        count = request.body.count(b"\nDELETE ")
        refused = b"%2F7?" in request.body
        statuses = ["503 Busy" if refused and number == 7 else "204 No Content" for number in range(count)]
        parts = [f"--x\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 {status}\r\n\r\n\r\n" for status in statuses]
        return reply("200 OK", "".join(parts) + "--x--", Content_Type="multipart/mixed; boundary=x")

    proxy.fault = fault
    proxied.delete(f"d/{number}" for number in range(250))
    batches = [request for request in proxy.requests if request.target.startswith("/batch/")]
    singles = [request for request in proxy.requests if request.method == "DELETE"]
    assert sorted(request.body.count(b"\nDELETE ") for request in batches) == [50, 100, 100]
    assert [request.target.rpartition("%2F")[2] for request in singles] == ["7?prettyPrint=false"]


@pytest.mark.parametrize("size", [16 * MIB, 32 * MIB, 16 * MIB + 1])
def test_uploads_of_whole_parts_end(gcs_bench: GCSBench, size: int) -> None:
    """A resumable upload of unknown length whose last part is empty."""
    data = noise(size)
    gcs_bench.storage.upload("k", io.BytesIO(data))
    assert gcs_bench.contents() == {"k": data}


# Servers that fail


def test_an_upload_that_fails_on_the_way_is_not_published(proxy: Proxy, proxied: Storage, gcs_bench: GCSBench) -> None:
    """A rejected part ends it, and what was there stays."""
    gcs_bench.seed({"k": b"before"})
    puts = itertools.count()
    proxy.fault = lambda request: reply("400 Bad Request", "{}") if request.method == "PUT" and next(puts) else None
    with pytest.raises(WriteError, match="/k"):
        proxied.upload("k", io.BytesIO(noise(50 * MIB)))
    assert gcs_bench.contents() == {"k": b"before"}


@pytest.mark.parametrize("read", [lambda storage: storage.get("k")[0], lambda storage: storage.open("k").read()])
def test_an_object_that_is_replaced_after_a_cut_connection_is_not_missing(
    proxy: Proxy, proxied: Storage, gcs_bench: GCSBench, read: Callable[[Storage], bytes]
) -> None:
    """The SDK goes on with the version that it was reading, and that one is gone."""
    gcs_bench.seed({"k": b"first version"})
    cuts = iter(["cut"])

    def fault(request: Request) -> str | None:
        if "generation=" in request.target:
            gcs_bench.seed({"k": b"second"})
        return next(cuts, None)

    proxy.fault = fault
    assert read(proxied) == b"second"


def test_an_upload_that_has_expired_is_not_taken_for_a_missing_bucket(proxy: Proxy, proxied: Storage) -> None:
    proxy.fault = lambda request: reply("404 Not Found", "{}") if "upload_id=" in request.target else None
    with pytest.raises(WriteError, match="/k") as caught:
        proxied.upload("k", io.BytesIO(noise(20 * MIB)))
    assert "bucket does not exist" not in str(caught.value)
    assert not isinstance(caught.value, RepositoryConfigurationError)


# Servers with habits of their own


def test_a_server_that_sends_no_generations_has_them(proxy: Proxy, proxied: Storage, gcs_bench: GCSBench) -> None:
    """Emulators and proxies send contents without them; the description of an object has its generation."""
    proxy.rewrite = lambda head: re.sub(rb"(?i)x-goog-generation:.*?\r\n", b"", head)
    etag = proxied.put("k", b"1")
    assert proxied.get("k") == (b"1", etag)
    etag = proxied.put("k", b"2", if_match=etag)
    assert list(proxied.get_many(["k"])) == [("k", b"2", etag)]
    data = noise(20 * MIB)
    proxied.upload("large", io.BytesIO(data))
    with proxied.open("large") as stream:
        assert stream.read() == data
    with proxied.open("large") as stream:
        stream.read(MIB)
        gcs_bench.seed({"large": noise(20 * MIB, 2)})
        with pytest.raises(ReadError, match="replaced or deleted"):
            stream.read()


def test_content_that_is_rewritten_while_it_is_read_has_its_own_generation(
    proxy: Proxy, proxied: Storage, gcs_bench: GCSBench
) -> None:
    """This holds where the generation must be asked for, too."""
    gcs_bench.seed({"k": b"1"})
    writes = iter([b"2"])

    def fault(request: Request) -> None:
        if "alt=media" not in request.target:
            for write in writes:
                gcs_bench.seed({"k": write})

    proxy.rewrite = lambda head: re.sub(rb"(?i)x-goog-generation:.*?\r\n", b"", head)
    proxy.fault = fault
    data, etag = proxied.get("k")
    assert (data, [etag]) == (b"2", [info.etag for info in proxied.list("")])


def test_a_server_that_knows_no_start_offset_is_listed(proxy: Proxy, proxied: Storage, gcs_bench: GCSBench) -> None:
    """One page comes after the other."""
    keys = [f"m/{noise(6, number).hex()}.json" for number in range(250)]
    gcs_bench.seed(dict.fromkeys(keys, b""))

    def fault(request: Request) -> None:
        request.head = re.sub(rb"startOffset=[^& ]*", b"", request.head)

    proxy.fault = fault
    assert [info.key for info in proxied.list("m")] == sorted(keys)


# Errors say what to do


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("status", "advice"), [("403 Forbidden", "storage.objectUser"), ("401 Unauthorized", "gcloud auth")]
)
def test_the_servers_refusals_say_what_to_do(proxy: Proxy, proxied: Storage, status: str, advice: str) -> None:
    """Each names the URL and the way out, whatever was asked for."""
    proxy.fault = lambda request: reply(status, '{"error": {"message": "No."}}', Content_Type="application/json")
    attempts: list[Callable[[], object]] = [
        lambda: proxied.get("k"),
        lambda: list(proxied.list("")),
        lambda: proxied.put("k", b""),
        lambda: proxied.upload("k", io.BytesIO(bytes(9 * MIB))),
    ]
    for attempt in attempts:
        with pytest.raises(RepositoryConfigurationError, match=advice) as caught:
            attempt()
        assert proxied.url in str(caught.value)
        assert caught.value.__cause__ is not None
    with pytest.raises(WriteError, match="Could not delete 2 objects"):
        proxied.delete(["a", "b"])


def test_without_credentials_the_ways_to_log_in_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RepositoryConfigurationError, match="gcloud auth application-default login"):
        open_storage("gs://bucket")


@pytest.mark.parametrize("text", ["{", "[]", '"x"', '{"type": "service_account"}'])
def test_an_invalid_key_is_reported(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS_JSON", text)
    with pytest.raises(RepositoryConfigurationError, match="GOOGLE_APPLICATION_CREDENTIALS_JSON"):
        open_storage("gs://bucket")


@pytest.mark.usefixtures("impatient", "gcs_bench")
@pytest.mark.parametrize(("address", "advice"), [("http://127.0.0.1:9", "network"), ("https", "REQUESTS_CA_BUNDLE")])
def test_a_server_that_cannot_be_reached_is_reported(
    monkeypatch: pytest.MonkeyPatch, address: str, advice: str
) -> None:
    monkeypatch.setenv(
        "STORAGE_EMULATOR_HOST", servers.fake_gcs().replace("http", address) if "9" not in address else address
    )
    with pytest.raises(KeepsakeError, match=advice):
        open_storage("gs://bucket").get("k")


@pytest.mark.parametrize("bucket", ["-x-", "a b", "é"])
def test_an_impossible_bucket_is_reported(gcs_bench: GCSBench, bucket: str) -> None:
    with pytest.raises(KeepsakeError, match="gs://"):
        open_storage(f"gs://{bucket}").put("k", b"")


# Credentials


def test_an_emulator_may_be_named_without_scheme(gcs_bench: GCSBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's tools in other languages allow it."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", servers.fake_gcs().removeprefix("http://"))
    open_storage(gcs_bench.url).put("k", b"x")
    assert gcs_bench.contents() == {"k": b"x"}


@pytest.mark.parametrize("way", ["text", "file"])
def test_a_service_accounts_key_signs_in(
    gcs_bench: GCSBench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    """Its text or its file; what it is exchanged for comes with every request."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

    def fault(request: Request) -> bytes | None:
        token = json.dumps({"access_token": "the-token", "expires_in": 3600, "token_type": "Bearer"})
        return reply("200 OK", token, Content_Type="application/json") if request.target == "/token" else None

    with Proxy(servers.fake_gcs(), fault=fault).running() as proxy:
        key = {"type": "service_account", "client_email": "me@example.com", "project_id": "project"}
        key |= {"private_key": private.decode(), "token_uri": f"{proxy.address}/token"}
        monkeypatch.delenv("STORAGE_EMULATOR_HOST")
        monkeypatch.setenv("API_ENDPOINT_OVERRIDE", proxy.address)
        if way == "text":
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS_JSON", json.dumps(key))
        else:
            (tmp_path / "key.json").write_text(json.dumps(key))
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
        open_storage(gcs_bench.url).put("k", b"x")
    assert gcs_bench.contents() == {"k": b"x"}
    assert proxy.requests[0].target == "/token"
    assert proxy.requests[1].headers["authorization"] == "Bearer the-token"


def test_a_wrong_etag_is_a_failed_condition(gcs_bench: GCSBench) -> None:
    """It is none that a generation can have, as from another storage."""
    gcs_bench.seed({"k": b"x"})
    with pytest.raises(PreconditionFailed):
        gcs_bench.storage.put("k", b"y", if_match="not a number")
