"""The contract against the real Amazon S3 and Google Cloud Storage, where the environment names a place there:
KEEPSAKE_TEST_S3_URL and KEEPSAKE_TEST_GCS_URL, each a bucket or a root in one, with the usual credentials.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.storage.benches import Bench, S3Bench
from tests.storage.contract import StorageContract

S3_URL = os.environ.get("KEEPSAKE_TEST_S3_URL")
GCS_URL = os.environ.get("KEEPSAKE_TEST_GCS_URL")


class RealS3Bench(S3Bench):
    """A new root of its own in a real bucket."""

    def __init__(self, url: str) -> None:
        bucket, root = _new_root(url)
        super().__init__(None, root, bucket)


class RealGCSBench(Bench):
    """The same, seen through the SDK."""

    def __init__(self, url: str) -> None:
        from google.cloud import storage

        bucket, self.root = _new_root(url)
        self.url = f"gs://{bucket}/{self.root}"
        self.bucket: Any = storage.Client().bucket(bucket)

    def listed(self) -> set[str]:
        return {blob.name[len(self.root) + 1 :] for blob in self.bucket.list_blobs(prefix=f"{self.root}/")}

    def read(self, key: str) -> bytes:
        return bytes(self.bucket.blob(f"{self.root}/{key}").download_as_bytes())

    def write(self, key: str, data: bytes) -> None:
        self.bucket.blob(f"{self.root}/{key}").upload_from_string(data)

    def remove(self, key: str) -> None:
        self.bucket.blob(f"{self.root}/{key}").delete()


def _new_root(url: str) -> tuple[str, str]:
    bucket, _, root = url.partition("://")[2].partition("/")
    return bucket, f"{root.rstrip('/')}/{uuid.uuid4().hex}".lstrip("/")


def _clean(bench: Bench) -> None:
    for key in bench.listed():
        bench.remove(key)


@pytest.mark.cloud
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not S3_URL, reason="KEEPSAKE_TEST_S3_URL names no place")
class TestRealS3(StorageContract):
    many = 1_100

    @pytest.fixture
    def bench(self) -> Iterator[RealS3Bench]:
        bench = RealS3Bench(S3_URL or "")
        yield bench
        _clean(bench)


@pytest.mark.cloud
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not GCS_URL, reason="KEEPSAKE_TEST_GCS_URL names no place")
class TestRealGCS(StorageContract):
    many = 1_100

    @pytest.fixture
    def bench(self) -> Iterator[RealGCSBench]:
        bench = RealGCSBench(GCS_URL or "")
        yield bench
        _clean(bench)
