"""Storage in a bucket of Amazon S3, or of any server that speaks its protocol.

On botocore, the part of boto3 that talks to servers: what boto3 has above it would take 60 ms more to load.
Credentials, region, endpoint and addressing are the AWS SDK's business: profiles, environment variables, instance
roles, `AWS_ENDPOINT_URL`. The region of a bucket need not be known: the SDK finds it out from the first answer.

Servers without conditional writes: where the endpoint is not Amazon's, a condition is looked at by a request of its own
before it is sent along with the write, because some servers ignore it and others refuse it. With such a server, of two
writers within the same few milliseconds the later one wins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import botocore.exceptions as sdk
import botocore.session
from botocore.config import Config
from botocore.utils import parse_timestamp

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
from keepsake.version import __version__

_CONNECT, _READ = 5, 20  # seconds to connect and to wait for bytes
_ATTEMPTS = 6
_READS = 3  # of one answer's body, which the SDK's own retries do not cover
_PAGE = 1000  # objects, the most that one answer lists
_BATCH = 1000  # keys, the most that one request deletes
_EQUAL_PARTS = 5000  # of at most 10,000; those after it are four times as large, so that 200 GB fit

_LOG_IN = (
    "Log in (`aws sso login`, `aws configure`), or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
)
_HINTS = {
    "Set AWS_REGION to the region of the bucket.": (
        "301 PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException"
    ),
    "These credentials may not do that. They need s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and "
    "s3:DeleteObject below the repository's root.": "403 AccessDenied AllAccessDisabled Forbidden",
    f"The credentials are wrong or have expired. {_LOG_IN}": (
        "InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken InvalidToken TokenRefreshRequired"
    ),
    "This machine's clock is wrong by more than 15 minutes. Set it and try again.": (
        "RequestTimeTooSkewed RequestExpired RequestInTheFuture"
    ),
    "Check the spelling of the bucket's name. A missing bucket is created when the first experiment is.": (
        "NoSuchBucket InvalidBucketName"
    ),
}
_UNKNOWN = {"NotImplemented", "MethodNotAllowed", "MissingContentMD5", "InvalidRequest", "MalformedXML"}
_HINT_OF_CODE = {code: hint for hint, codes in _HINTS.items() for code in codes.split()}
_HINT_OF_TYPE: list[tuple[type[Exception] | tuple[type[Exception], ...], str]] = [
    (
        (
            sdk.NoCredentialsError,
            sdk.PartialCredentialsError,
            sdk.CredentialRetrievalError,
            sdk.TokenRetrievalError,
            sdk.SSOError,
            sdk.ProfileNotFound,
        ),
        _LOG_IN,
    ),
    (
        sdk.SSLError,
        "The server's certificate is not trusted; for a private one, set AWS_CA_BUNDLE to the file with it.",
    ),
    (sdk.ParamValidationError, "Check the spelling of the bucket's name."),
]

T = TypeVar("T")
Failures = list[tuple[str, Exception]]  # names, and why each could not be deleted


class S3Storage(Storage):
    """Objects of `bucket` whose keys begin with `root/`. The etag is the server's."""

    seconds_between_writes = 1.0

    def __init__(self, bucket: str, root: str) -> None:
        self.url = f"s3://{bucket}/{root}".rstrip("/").replace("%", "%25")
        self._bucket = bucket
        self._root = root + "/" if root else ""
        self._clock = network.Clock()
        config = Config(
            connect_timeout=_CONNECT,
            read_timeout=_READ,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            max_pool_connections=network.AT_ONCE,
            tcp_keepalive=True,
            user_agent=f"keepsake/{__version__}",  # the usual one is put together anew for every request
            # Servers other than Amazon's refuse the checksums that are "supported"; transport security is enough
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        with self._errors("open"):
            session = botocore.session.Session()
            session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
            self._client: Any = session.create_client("s3", config=config)
        self._client.meta.events.register("after-call.s3", self._note_date)
        host = urlsplit(self._client.meta.endpoint_url).hostname or ""
        self._is_amazon = host.endswith((".amazonaws.com", ".amazonaws.com.cn"))

    def open(self, key: str, *, start: int = 0, length: int | None = None) -> AbstractContextManager[BinaryIO]:
        def fetch(first: int, stop: int | None, version: str | None) -> network.Fetched:
            span = f"bytes={first}-{'' if stop is None else stop - 1}" if first >= 0 else f"bytes={first}"
            return self._fetch(key, Range=span, **({"IfMatch": version} if version else {}))

        self._name(key)
        return network.open_ranges(fetch, f"{self.url}/{key}", start, length)

    def get(self, key: str) -> tuple[bytes, str]:
        data, _, etag = self._fetch(key)
        return data, etag.strip('"')

    def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        request = {**self._name(key), "Body": data}
        condition = {"IfNoneMatch": "*"} if if_absent else {"IfMatch": f'"{if_match}"'} if if_match is not None else {}
        with self._errors("write", key):
            if condition and not self._is_amazon:
                self._check(key, if_match)
            try:
                answer = self._client.put_object(**request, **condition)
            except sdk.ClientError as error:
                if _code(error) == "NotImplemented" and condition:
                    answer = self._client.put_object(**request)
                elif _code(error) in ("NoSuchKey", "404") and condition:
                    raise self._changed(key) from error
                else:
                    raise
        return str(answer["ETag"]).strip('"')

    def upload(self, key: str, source: BinaryIO) -> None:
        name = self._name(key)
        first = network.read_part(source)
        if len(first) < network.PART:
            self.put(key, first)
            return
        with self._errors("write", key):
            name["UploadId"] = self._client.create_multipart_upload(**name)["UploadId"]
        running: deque[Future[dict[str, Any]]] = deque()
        try:
            parts = list(self._send_parts(name, first, source, running))
            with self._errors("write", key):
                self._client.complete_multipart_upload(**name, MultipartUpload={"Parts": parts})
        except BaseException:
            wait([future for future in running if not future.cancel()], timeout=2)
            with suppress(sdk.BotoCoreError, sdk.ClientError):  # a server that is gone keeps its parts
                self._client.abort_multipart_upload(**name)
            raise

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        start = check_key(prefix) + "/" if prefix else ""

        def page(after: str, until: str | None) -> tuple[list[ObjectInfo], bool]:
            request = {"Bucket": self._bucket, "Prefix": self._root + start, "StartAfter": self._root + after}
            with self._errors("list", prefix):
                answer = self._client.list_objects_v2(**request, MaxKeys=_PAGE)
            found = [self._info(item) for item in answer.get("Contents", [])]
            kept = [info for info in found if until is None or info.key <= until]
            return kept, answer["IsTruncated"] and len(kept) == len(found) > 0

        return network.list_pages(page, start)

    def delete(self, keys: Iterable[str]) -> None:
        names = [self._name(key)["Key"] for key in keys]
        batches = (names[start : start + _BATCH] for start in range(0, len(names), _BATCH))
        failed = self._delete_by(self._delete_batch, batches)
        if any(_code(error) in _UNKNOWN for _, error in failed):
            failed = self._delete_by(self._delete_one, (name for name, _ in failed))
        if failed:
            lines = [f"s3://{self._bucket}/{name}: {error}" for name, error in failed]
            hint = _HINT_OF_CODE.get(_code(failed[0][1]), "Try again.")
            raise WriteError("\n".join([f"Could not delete {len(failed)} objects. {hint}", *lines])) from failed[0][1]

    def ensure_writable(self) -> None:
        with self._errors("open"):
            try:
                self._client.head_bucket(Bucket=self._bucket)
            except sdk.ClientError as error:
                if _code(error) == "404":
                    self._create_bucket()
                elif _code(error) != "403":  # who may write below a prefix need not be allowed to see the bucket
                    raise

    def now(self) -> float:
        if self._clock.offset is None:
            with self._errors("read"), suppress(sdk.ClientError):  # a refusal has a date too
                self._client.head_bucket(Bucket=self._bucket)
        return self._clock.now()

    def get_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes, str]]:
        jobs = (partial(self._get_if_there, key) for key in keys)
        return (found for found in network.in_parallel(jobs) if found)

    def leftovers(self) -> Iterator[ObjectInfo]:
        pages = self._client.get_paginator("list_multipart_uploads")
        with self._errors("list"):
            try:
                for page in pages.paginate(Bucket=self._bucket, Prefix=self._root):
                    for upload in page.get("Uploads", []):
                        key = upload["Key"][len(self._root) :]
                        yield ObjectInfo(key, 0, upload["UploadId"], upload["Initiated"].timestamp())
            except sdk.ClientError as error:
                if _code(error) not in _UNKNOWN:
                    raise

    def remove_leftover(self, leftover: ObjectInfo) -> None:
        with self._errors("write", leftover.key):
            self._client.abort_multipart_upload(**self._name(leftover.key), UploadId=leftover.etag)

    def _name(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._root + check_key(key)}

    def _fetch(self, key: str, **condition: str) -> network.Fetched:
        request = {**self._name(key), **condition}
        with self._errors("read", key):
            for attempt in range(1, _READS + 1):
                try:
                    answer = self._client.get_object(**request)
                    with closing(answer["Body"]) as body:
                        if "Range" not in condition or not answer["ContentLength"]:
                            return network.Fetched(body.read(), answer["ContentLength"], answer["ETag"])
                        total = network.total_of(answer.get("ContentRange"), f"{self.url}/{key}")
                        return network.Fetched(body.read(), total, answer["ETag"])
                except sdk.ClientError as error:
                    if _code(error) in ("InvalidRange", "416"):
                        return network.Fetched(b"", 0, "")
                    raise
                except (sdk.IncompleteReadError, sdk.ResponseStreamingError, sdk.ReadTimeoutError):
                    if attempt == _READS:
                        raise
        raise AssertionError

    def _check(self, key: str, etag: str | None) -> None:
        """Raise PreconditionFailed unless the object has that etag; None: unless there is none."""
        try:
            current = self._client.head_object(**self._name(key))["ETag"].strip('"')
        except sdk.ClientError as error:
            if _code(error) != "404":
                raise
            current = None
        if current != etag:
            raise self._changed(key)

    def _changed(self, key: str) -> PreconditionFailed:
        return PreconditionFailed(f"{self.url}/{key} was written by somebody else.")

    def _send_parts(
        self, name: dict[str, Any], block: bytes, source: BinaryIO, running: deque[Future[dict[str, Any]]]
    ) -> Iterator[dict[str, Any]]:
        """Send `block` and the rest of `source` as the parts of an upload; yield what completes it, in order."""
        number = 1
        while block:
            part = {**name, "PartNumber": number, "Body": block}
            running.append(network.movers.submit(partial(self._send_part, part)))
            if len(running) > network.PARALLEL:
                yield running.popleft().result()
            number += 1
            block = network.read_part(source, network.PART if number <= _EQUAL_PARTS else 4 * network.PART)
        while running:
            yield running.popleft().result()

    def _send_part(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._errors("write", request["Key"][len(self._root) :]):
            return {"PartNumber": request["PartNumber"], "ETag": self._client.upload_part(**request)["ETag"]}

    def _info(self, item: dict[str, Any]) -> ObjectInfo:
        key, etag = item["Key"][len(self._root) :], item["ETag"].strip('"')
        return ObjectInfo(key, item["Size"], etag, item["LastModified"].timestamp())

    @staticmethod
    def _delete_by(delete: Callable[[T], Failures], what: Iterable[T]) -> Failures:
        return [
            failure for failures in network.in_parallel(partial(delete, item) for item in what) for failure in failures
        ]

    def _delete_batch(self, names: Sequence[str]) -> Failures:
        request = {"Objects": [{"Key": name} for name in names], "Quiet": True}
        try:
            errors = self._client.delete_objects(Bucket=self._bucket, Delete=request).get("Errors", [])
        except (sdk.BotoCoreError, sdk.ClientError) as error:
            return [(name, error) for name in names]
        return [(item["Key"], sdk.ClientError({"Error": item}, "DeleteObjects")) for item in errors]

    def _delete_one(self, name: str) -> Failures:
        try:
            self._client.delete_object(Bucket=self._bucket, Key=name)
        except (sdk.BotoCoreError, sdk.ClientError) as error:
            return [(name, error)]
        return []

    def _create_bucket(self) -> None:
        region = self._client.meta.region_name
        where = {} if region in ("us-east-1", "aws-global") else {"LocationConstraint": region}
        try:
            self._client.create_bucket(Bucket=self._bucket, **({"CreateBucketConfiguration": where} if where else {}))
        except sdk.ClientError as error:
            if _code(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):  # somebody else was quicker
                raise

    def _note_date(self, http_response: Any, **_: object) -> None:
        self._clock.note(http_response.headers.get("date"))

    @contextmanager
    def _errors(self, verb: str, key: str = "") -> Iterator[None]:
        try:
            yield
        except (sdk.BotoCoreError, sdk.ClientError, OSError) as error:
            raise self._error(verb, key, error) from error

    def _error(self, verb: str, key: str, error: Exception) -> KeepsakeError:
        name, code = f"{self.url}/{key}".rstrip("/"), _code(error)
        if code in ("NoSuchKey", "404"):
            return DoesNotExist(f"{name} does not exist.")
        if code in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
            return self._changed(key)
        hint = _HINT_OF_CODE.get(code) or next((hint for kind, hint in _HINT_OF_TYPE if isinstance(error, kind)), None)
        kind: type[KeepsakeError] = ReadError if verb in ("read", "list") else WriteError
        if hint is None:
            hint = (
                f"Check the network and whether {self._client.meta.endpoint_url} is the right server; then try again."
            )
        else:
            kind = MissingBucket if code == "NoSuchBucket" else RepositoryConfigurationError
        return kind(f"Could not {verb} {name}: {str(error).rstrip('.')}. {hint}")


def _timestamp(value: Any) -> datetime:
    """Parse a time; ten times as fast as the SDK does, which would take most of the time of a listing."""
    try:
        return (
            datetime.fromisoformat(value.replace("Z", "+00:00"))
            if value[:1].isdigit()
            else parsedate_to_datetime(value)
        )
    except (AttributeError, TypeError, ValueError):
        return parse_timestamp(value)


def _code(error: Exception) -> str:
    """The server's code of an error; of an answer without a body its status; of other errors ""."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, sdk.ClientError) else ""
