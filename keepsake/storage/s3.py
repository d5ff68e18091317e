"""Storage in a bucket of Amazon S3, or of any server that speaks its protocol.

It uses botocore, the part of boto3 that talks to servers. The rest of boto3 would take 60 ms more to load.
The AWS SDK handles credentials, region, endpoint and addressing: profiles, environment variables, instance roles,
`AWS_ENDPOINT_URL`. The SDK learns the region of a bucket from the first answer.

Other servers differ from Amazon's. Some ignore a condition on a write, and others refuse it. So with those servers a
separate request checks the condition before the write. Of two writers within the same few milliseconds, the later one
wins then. So where conditions are ignored, a further request checks a moment later whether an update is still there.
Content is first sent without a checksum, because some servers refuse one. It is sent again with Content-MD5 if the
server demands that, as buckets with Object Lock do.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import unquote_plus, urlsplit

import botocore.exceptions as sdk
import botocore.session
from botocore.config import Config
from botocore.utils import parse_timestamp

from keepsake.exceptions import DoesNotExist
from keepsake.storage import network
from keepsake.storage.base import ObjectInfo
from keepsake.storage.bucket import Trouble, origin, refuse_web_page
from keepsake.storage.downloads import PIECE, Cut, Download
from keepsake.storage.s3_errors import CONFLICT, FAILED, LOG_IN, MISSING, UNSUPPORTED, allowing, code_of, trouble_of
from keepsake.storage.s3_uploads import S3Uploads, etag_of
from keepsake.util.clock import monotonic
from keepsake.util.files import TEMPORARY
from keepsake.version import __version__

_CONNECT, _READ = 5, 20  # seconds to connect and to wait for bytes
_ATTEMPTS = 6
_CONFLICTS = 4  # further attempts after a conflict
# Seconds after a write, besides twice its own time, until no other write with its condition is under way.
_SETTLED = 0.1
_PAGE = 1000  # the most objects that one answer lists

_ABORTED = "OperationAborted"  # the code of a condition that conflicts with another request, like CONFLICT
_REFUSED = ("AccessDenied", "403")  # codes of objects that may be missing


class S3Storage(S3Uploads):
    """Objects in a bucket of S3. The etag is the server's."""

    cloud = "S3"
    batch = 1000
    settings = "the AWS_… variables and ~/.aws/config"
    log_in = LOG_IN
    unreachable = (sdk.BotoCoreError,)

    def __init__(self, bucket: str, root: str) -> None:
        self._bucket = bucket
        super().__init__("s3", bucket, root)

    def _connect(self) -> None:
        config = Config(
            connect_timeout=_CONNECT,
            read_timeout=_READ,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            max_pool_connections=network.AT_ONCE,
            tcp_keepalive=True,
            user_agent=f"keepsake/{__version__}",  # the SDK builds its default one anew for every request
            # Servers other than Amazon's refuse the SDK's default checksums. Transport security is enough.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        session = botocore.session.Session()
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
        self._client = session.create_client("s3", config=config)
        self._client.meta.events.register("before-parse.s3", self._look_at)
        self._endpoint = origin(self._client.meta.endpoint_url)
        host = urlsplit(self._endpoint).hostname or ""
        self._is_amazon = host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        self._minds: bool | None = self._is_amazon or None  # whether it minds conditions; None: unknown

    def _look_at(self, response_dict: dict[str, Any], **_: object) -> None:
        """Look at an answer before the SDK does."""
        self._clock.note(response_dict["headers"].get("date"))
        if isinstance(response_dict["body"], bytes):
            refuse_web_page(response_dict["status_code"], response_dict["body"])

    # Reading

    def _receive(self, name: str, download: Download) -> None:
        start, stop = download.start, download.stop
        span = f"bytes={start}-{'' if stop is None else stop - 1}" if start >= 0 else f"bytes={start}"
        is_whole = (start, stop) == (0, None)
        try:
            answer = self._get_object(name, **({} if is_whole else {"Range": span}))
        except sdk.ClientError as error:
            if code_of(error) not in ("InvalidRange", "416"):
                raise
            download.nothing()
            return
        headers = answer["ResponseMetadata"]["HTTPHeaders"]
        if "content-length" not in headers and headers.get("transfer-encoding") != "chunked":
            raise network.Unexpected("an object of unknown length")
        with closing(answer["Body"]) as body:
            pieces = _pieces(body)
            first = next(pieces, b"")
            if "text/html" in headers.get("content-type", ""):
                refuse_web_page(200, first)
            content_range, etag = answer.get("ContentRange"), etag_of(answer)
            if not (first or is_whole or content_range):  # some servers answer so for an empty object
                download.nothing()
                return
            download.begin(content_range, etag)
            download.take(first)
            for piece in pieces:
                download.take(piece)

    def _get_object(self, name: str, **span: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._client.get_object(**self._at(name), **span)
        except sdk.ClientError as error:
            if code_of(error) in _REFUSED and not self._listed(name):
                raise DoesNotExist(f"{self._place(name)} does not exist.") from error
            raise
        return answer

    def _listed(self, name: str) -> list[dict[str, Any]]:
        """Return what a listing says of an object.

        Where credentials may list only below a prefix, servers may refuse to say that an object is missing.
        """
        answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=name, MaxKeys=1)
        return list(answer.get("Contents", []))

    def _page(self, prefix: str, after: str, token: str | None) -> network.Page:
        start = self._root + prefix
        where = {"ContinuationToken": token} if token else {"StartAfter": self._root + after} if after else {}
        answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=start, MaxKeys=_PAGE, **where)
        items = answer.get("Contents", [])
        for item in items:
            if not item["Key"].startswith(start):  # some servers encode keys and do not say so
                item["Key"] = unquote_plus(item["Key"])
        objects = [self._info(item) for item in items if item["Key"].startswith(start)]
        return network.Page(objects, answer["IsTruncated"], answer.get("NextContinuationToken"))

    def _info(self, item: dict[str, Any]) -> ObjectInfo:
        key = item["Key"][len(self._root) :]
        return ObjectInfo(key, item["Size"], etag_of(item), item["LastModified"].timestamp())

    def _ask(self) -> None:
        with suppress(sdk.ClientError):
            self._client.head_bucket(Bucket=self._bucket)

    # Writing

    def _put(self, name: str, data: bytes, if_absent: bool, if_match: str | None) -> str:
        request = {**self._at(name), "Body": data}
        condition = {"IfNoneMatch": "*"} if if_absent else {"IfMatch": f'"{if_match}"'} if if_match is not None else {}
        started = monotonic()
        if condition and not self._is_amazon:
            self._check(name, if_match)
        try:
            answer = self._despite_conflicts(partial(self._send, self._client.put_object, {**request, **condition}))
        except sdk.ClientError as error:
            if condition and code_of(error) in MISSING:
                raise self._changed(name) from error
            if not condition or self._is_amazon or code_of(error) not in (*UNSUPPORTED, *FAILED):
                raise
            if code_of(error) in FAILED:
                self._check(name, if_match)  # a server that marks its etags as weak may find that none matches
                self._minds = False
            answer = self._send(self._client.put_object, request)
        if if_match is not None and not self._minds_conditions():
            time.sleep(_SETTLED + 2 * (monotonic() - started))
            self._check(name, etag_of(answer))  # nobody may have written it after having checked the old version
        return etag_of(answer)

    def _minds_conditions(self) -> bool:
        """Whether the server minds conditions. It then refuses to update an object that is not there."""
        if self._minds is None:
            name = f"{self._root}{TEMPORARY}-{secrets.token_hex(8)}"
            try:
                self._send(self._client.put_object, {**self._at(name), "Body": b"", "IfMatch": '"0"'})
            except sdk.ClientError as error:
                self._minds = code_of(error) in (*MISSING, *FAILED)
            else:
                self._minds = False
                with suppress(Exception):  # listings skip its name
                    self._delete_one(name)
        return self._minds

    @staticmethod
    def _despite_conflicts(send: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Send a condition again that conflicts with another request under way: both may have been refused."""
        for attempt in range(_CONFLICTS):
            try:
                return send()
            except sdk.ClientError as error:
                if code_of(error) not in (CONFLICT, _ABORTED):
                    raise
            time.sleep(0.05 * 2**attempt)
        return send()

    def _check(self, name: str, etag: str | None) -> None:
        """Raise PreconditionFailed unless the object has that etag. None: the object must not exist."""
        try:
            found = [self._client.head_object(**self._at(name))]
        except sdk.ClientError as error:
            if code_of(error) not in (*MISSING, *_REFUSED):
                raise
            found = self._listed(name) if code_of(error) in _REFUSED else []
        if (etag_of(found[0]) if found else None) != etag:
            raise self._changed(name)

    def _delete_batch(self, names: Sequence[str]) -> dict[str, Exception]:
        request = {"Objects": [{"Key": name} for name in names]}
        answer = self._client.delete_objects(Bucket=self._bucket, Delete=request)
        left: dict[str, Exception] = dict.fromkeys(names, network.Unexpected("no confirmation of the deletion"))
        left |= {item["Key"]: sdk.ClientError({"Error": item}, "DeleteObjects") for item in answer.get("Errors", [])}
        for item in answer.get("Deleted", []):
            left.pop(item["Key"], None)
        return left

    def _may_work_singly(self, error: Exception) -> bool:
        # Some servers cannot verify the signature of a batch, because its checksum is a header that is signed.
        is_unverified = isinstance(error, sdk.ClientError) and code_of(error) == "SignatureDoesNotMatch"
        return is_unverified or super()._may_work_singly(error)

    def _delete_one(self, name: str) -> None:
        self._client.delete_object(**self._at(name))

    def _make_bucket(self) -> None:
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except sdk.ClientError as error:
            if code_of(error) == "404":
                self._create_bucket()
            # Credentials that may write below a prefix need not be allowed to see the bucket, and not every server
            # supports the request.
            elif code_of(error) not in ("403", "405", "501"):
                raise

    def _create_bucket(self) -> None:
        region = self._client.meta.region_name
        where = {} if region in ("us-east-1", "aws-global") else {"LocationConstraint": region}
        with allowing("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):  # another process was faster
            self._client.create_bucket(Bucket=self._bucket, **({"CreateBucketConfiguration": where} if where else {}))

    def _explain(self, error: Exception) -> Trouble:
        return trouble_of(error) or self._not_understood(error)


def _pieces(body: Any) -> Iterator[bytes]:
    """Yield the body of an answer. Its errors are not tried again by the SDK."""
    try:
        while piece := body.read(PIECE):
            yield piece
    except Exception as error:
        raise Cut(sdk.ResponseStreamingError(error=error)) from error


def _timestamp(value: Any) -> datetime:
    """Parse a time ten times as fast as the SDK, whose parser would take most of a listing's time."""
    try:
        return (
            datetime.fromisoformat(value.replace("Z", "+00:00"))
            if value[:1].isdigit()
            else parsedate_to_datetime(value)
        )
    except (AttributeError, TypeError, ValueError):
        return parse_timestamp(value)
