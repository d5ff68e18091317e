"""S3 keeps the contract on two servers that have nothing in common, and what only S3 can get wrong."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config

from keepsake.storage import open_storage, s3
from tests.storage import servers
from tests.storage.contract import StorageContract


@functools.cache
def _back_door(endpoint: str) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=servers.KEY,
        aws_secret_access_key=servers.KEY,
        config=Config(s3={"addressing_style": "path"}, signature_version="s3v4", max_pool_connections=32),
    )


class S3Bench:
    """Sees the bucket through a client of its own, set up otherwise than the one under test."""

    def __init__(self, endpoint: str, root: str = "team/ünit test") -> None:
        self.bucket = f"keepsake-{uuid.uuid4().hex}"
        self.root = root
        self.client = _back_door(endpoint)
        self.client.create_bucket(Bucket=self.bucket)
        self.client.put_object(Bucket=self.bucket, Key=f"{root}x/neighbour", Body=b"not ours")
        self.storage = open_storage(f"s3://{self.bucket}/{root}")

    def seed(self, objects: dict[str, bytes]) -> None:
        for key, data in objects.items():
            self.client.put_object(Bucket=self.bucket, Key=f"{self.root}/{key}", Body=data)

    def contents(self) -> dict[str, bytes]:
        found = {}
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{self.root}/"):
            for item in page.get("Contents", []):
                body = self.client.get_object(Bucket=self.bucket, Key=item["Key"])["Body"]
                found[item["Key"][len(self.root) + 1 :]] = body.read()
        return found


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in servers.S3_ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Bench:
    endpoint = getattr(request.cls, "server", servers.moto)()
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setattr(s3, "_PAGE", 100)
    monkeypatch.setattr(s3, "_BATCH", 100)
    return S3Bench(endpoint)


class TestMoto(StorageContract):
    @pytest.fixture
    def bench(self, bench: S3Bench) -> S3Bench:
        return bench


class TestLocalBucket(StorageContract):
    server: Callable[[], str] = staticmethod(servers.localbucket)
    has_if_match = False

    @pytest.fixture
    def bench(self, bench: S3Bench) -> S3Bench:
        return bench
