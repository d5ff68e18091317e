"""Content on its way into a bucket of S3: with a checksum if the server wants one, and in parts if it is large."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

import botocore.exceptions as sdk

from keepsake.storage import network
from keepsake.storage.base import ObjectInfo
from keepsake.storage.bucket import BucketStorage
from keepsake.storage.s3_errors import ADVICE_AFTER, UNSUPPORTED, allowing, code_of

_EQUAL_PARTS = 5000  # of at most 10,000; later parts are four times as large, so 200 GB fit
_MARK = "keepsake-upload"  # the name of the metadata that tells by which upload an object was written
_YOUNG = 600  # seconds; the parts of a younger upload are not examined


class S3Uploads(BucketStorage):
    """The part of S3Storage that sends content."""

    _bucket: str
    _client: Any
    _wants_md5 = False

    def _at(self, name: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": name}

    def _send(self, call: Callable[..., dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
        """Send content. Once the server has refused content without a checksum, send one."""
        if not self._wants_md5:
            try:
                return call(**request)
            except sdk.ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status not in (400, 411) or code_of(error) in ADVICE_AFTER:
                    raise
        digest = hashlib.md5(request["Body"], usedforsecurity=False).digest()
        answer = call(**request, ContentMD5=base64.b64encode(digest).decode())
        self._wants_md5 = True
        return answer

    def _upload(self, name: str, first: bytes, source: BinaryIO) -> None:
        request, mark = self._at(name), secrets.token_hex(8)
        with self._errors("write", name):
            request["UploadId"] = self._client.create_multipart_upload(**request, Metadata={_MARK: mark})["UploadId"]
        running: deque[Future[dict[str, Any]]] = deque()
        try:
            parts = [*self._send_parts(request, first, source, running)]
            with self._errors("write", name):
                self._complete(request, parts, mark)
        except BaseException:
            wait([future for future in running if not future.cancel()], timeout=2)
            with suppress(Exception):  # the parts stay if the server does not answer; see leftovers
                self._client.abort_multipart_upload(**request)
            raise

    def _complete(self, request: dict[str, Any], parts: list[dict[str, Any]], mark: str) -> None:
        try:
            answer = self._client.complete_multipart_upload(**request, MultipartUpload={"Parts": parts})
        except sdk.ClientError as error:
            # An earlier attempt succeeded if its answer was lost, or came too late, and the object has this mark.
            if code_of(error) != "NoSuchUpload":
                raise
            if mark not in self._client.head_object(**self._at(request["Key"]))["Metadata"].values():
                raise
            return
        if not answer.keys() & {"ETag", "Key", "Location"}:
            raise network.Unexpected("no confirmation of the finished upload")

    def _send_parts(
        self, request: dict[str, Any], block: bytes, source: BinaryIO, running: deque[Future[dict[str, Any]]]
    ) -> Iterator[dict[str, Any]]:
        """Send `block` and the rest of `source` as parts; yield their descriptions in order, to complete the upload."""
        number = 1
        while block:
            part = {**request, "PartNumber": number, "Body": block}
            running.append(network.movers().submit(partial(self._send_part, part)))
            if len(running) > network.PARALLEL:
                yield running.popleft().result()
            number += 1
            block = network.read_part(source, network.PART if number <= _EQUAL_PARTS else 4 * network.PART)
        while running:
            yield running.popleft().result()

    def _send_part(self, part: dict[str, Any]) -> dict[str, Any]:
        with self._errors("write", part["Key"]):
            etag = etag_of(self._send(self._client.upload_part, part))
            return {"PartNumber": part["PartNumber"], "ETag": f'"{etag}"'}

    # Uploads that a crash interrupted

    def leftovers(self) -> Iterator[ObjectInfo]:
        with self._errors("list"), allowing(*UNSUPPORTED, "NoSuchUpload"):
            for upload in self._all("list_multipart_uploads", "Uploads", Prefix=self._root):
                name, number, changed = upload["Key"], upload["UploadId"], upload["Initiated"].timestamp()
                if self.now() - changed > _YOUNG:
                    changed = self._last_sent(name, number, changed)
                yield ObjectInfo(name[len(self._root) :], 0, number, changed)

    def remove_leftover(self, leftover: ObjectInfo) -> None:
        name, number = self._root + leftover.key, leftover.etag
        with self._errors("write", name), allowing("NoSuchUpload"):
            if self._last_sent(name, number, leftover.modified) == leftover.modified:  # no part has come since
                self._client.abort_multipart_upload(**self._at(name), UploadId=number)

    def _last_sent(self, name: str, number: str, begun: float) -> float:
        """Return when the last part of an upload was sent."""
        parts = self._all("list_parts", "Parts", Key=name, UploadId=number)
        return max((part["LastModified"].timestamp() for part in parts), default=begun)

    def _all(self, operation: str, items: str, **request: str) -> Iterator[dict[str, Any]]:
        for page in self._client.get_paginator(operation).paginate(Bucket=self._bucket, **request):
            yield from page.get(items, [])


def etag_of(answer: dict[str, Any]) -> str:
    """Return an answer's etag. A compressing proxy marks it as weak, and some servers omit the quotes."""
    if "ETag" not in answer:
        raise network.Unexpected("an object without an ETag")
    return str(answer["ETag"]).removeprefix("W/").strip('"')
