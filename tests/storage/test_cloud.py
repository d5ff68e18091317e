"""The contract against the real Amazon S3 and Google Cloud Storage, where the environment names a place there:
KEEPSAKE_TEST_S3_URL and KEEPSAKE_TEST_GCS_URL, each a bucket or a root in one, with the usual credentials.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from keepsake.storage import Storage, open_storage
from tests.storage.contract import StorageContract

S3_URL = os.environ.get("KEEPSAKE_TEST_S3_URL")
GCS_URL = os.environ.get("KEEPSAKE_TEST_GCS_URL")


class CloudBench:
    """A new root of its own in a real bucket, seen through the SDK; emptied in the end."""

    def __init__(self, url: str) -> None:
        self.storage: Storage = open_storage(f"{url.rstrip('/')}/{uuid.uuid4().hex}")
        _, _, place = self.storage.url.partition("://")
        self.bucket, _, self.root = place.partition("/")

    def seed(self, objects: dict[str, bytes]) -> None:
        for key, data in objects.items():
            self._put(f"{self.root}/{key}", data)

    def contents(self) -> dict[str, bytes]:
        return {name[len(self.root) + 1 :]: self._get(name) for name in self._names(f"{self.root}/")}

    def clean(self) -> None:
        for name in self._names(f"{self.root}/"):
            self._delete(name)

    def _put(self, name: str, data: bytes) -> None:
        raise NotImplementedError

    def _get(self, name: str) -> bytes:
        raise NotImplementedError

    def _delete(self, name: str) -> None:
        raise NotImplementedError

    def _names(self, prefix: str) -> list[str]:
        raise NotImplementedError


class RealS3Bench(CloudBench):
    def __init__(self, url: str) -> None:
        import boto3

        super().__init__(url)
        self.client: Any = boto3.session.Session().client("s3")

    def _put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=name, Body=data)

    def _get(self, name: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=name)["Body"].read())

    def _delete(self, name: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=name)

    def _names(self, prefix: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]


class RealGCSBench(CloudBench):
    def __init__(self, url: str) -> None:
        from google.cloud import storage

        super().__init__(url)
        self.place: Any = storage.Client().bucket(self.bucket)

    def _put(self, name: str, data: bytes) -> None:
        self.place.blob(name).upload_from_string(data)

    def _get(self, name: str) -> bytes:
        return bytes(self.place.blob(name).download_as_bytes())

    def _delete(self, name: str) -> None:
        self.place.blob(name).delete()

    def _names(self, prefix: str) -> list[str]:
        return [blob.name for blob in self.place.list_blobs(prefix=prefix)]


@pytest.mark.cloud
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not S3_URL, reason="KEEPSAKE_TEST_S3_URL names no place")
class TestRealS3(StorageContract):
    many = 1_100

    @pytest.fixture
    def bench(self) -> Iterator[RealS3Bench]:
        bench = RealS3Bench(S3_URL or "")
        yield bench
        bench.clean()


@pytest.mark.cloud
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not GCS_URL, reason="KEEPSAKE_TEST_GCS_URL names no place")
class TestRealGCS(StorageContract):
    many = 1_100

    @pytest.fixture
    def bench(self) -> Iterator[RealGCSBench]:
        bench = RealGCSBench(GCS_URL or "")
        yield bench
        bench.clean()
