"""The storages under test, each with a back door that does not go through it."""

from __future__ import annotations

import functools
import json
import urllib.parse
import urllib.request
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from keepsake.storage import Storage, open_storage
from tests.storage import servers
from tests.storage.memory import MemoryStorage


class Bench(ABC):
    """One storage at `url`, and a way to see and change what it stores that does not go through it."""

    url: str

    @functools.cached_property
    def storage(self) -> Storage:
        """The storage under test."""
        return open_storage(self.url)

    @abstractmethod
    def listed(self) -> set[str]:
        """The keys of all that is there, temporary objects included."""

    def kept(self) -> set[str]:
        """The keys of what the experiments of a repository consist of, and of its spec."""
        return {key for key in self.listed() if key != "identity.json" and not key.startswith("removed/")}

    @abstractmethod
    def read(self, key: str) -> bytes: ...

    @abstractmethod
    def write(self, key: str, data: bytes) -> None: ...

    @abstractmethod
    def remove(self, key: str) -> None: ...

    def seed(self, objects: dict[str, bytes]) -> None:
        for key, data in objects.items():
            self.write(key, data)

    def contents(self) -> dict[str, bytes]:
        return {key: self.read(key) for key in self.listed()}


class MemoryBench(Bench):
    """Sees the dict itself."""

    def __init__(self) -> None:
        self.memory = MemoryStorage()
        self.storage = self.memory
        self.url = self.memory.url

    def listed(self) -> set[str]:
        return set(self.memory.objects)

    def read(self, key: str) -> bytes:
        return self.memory.objects[key].data

    def write(self, key: str, data: bytes) -> None:
        self.memory.seed(key, data)

    def remove(self, key: str) -> None:
        del self.memory.objects[key]


class DiskBench(Bench):
    """Sees the folder through pathlib."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = f"file://{str(root).replace('%', '%25')}"

    def listed(self) -> set[str]:
        return {path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()}

    def read(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def remove(self, key: str) -> None:
        (self.root / key).unlink()


class S3Bench(Bench):
    """Sees the bucket, a new one by default, through a client of its own, set up otherwise than the one under test."""

    def __init__(self, endpoint: str | None, root: str = "team/ünit test", bucket: str = "") -> None:
        self.client = _s3_client(endpoint)
        self.bucket = bucket or f"keepsake-{uuid.uuid4().hex}"
        self.root = root
        self.url = f"s3://{self.bucket}/{root}"
        if not bucket:
            self.client.create_bucket(Bucket=self.bucket)
            self.client.put_object(Bucket=self.bucket, Key=f"{root}x/neighbour", Body=b"not ours")

    def listed(self) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{self.root}/")
        return {item["Key"][len(self.root) + 1 :] for page in pages for item in page.get("Contents", [])}

    def read(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=self.bucket, Key=f"{self.root}/{key}")["Body"].read())

    def write(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"{self.root}/{key}", Body=data)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"{self.root}/{key}")


@functools.cache
def _s3_client(endpoint: str | None) -> Any:
    """A client for the server at `endpoint`; None: for Amazon's, as the environment says."""
    if endpoint is None:
        return boto3.session.Session().client("s3")
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=servers.KEY,
        aws_secret_access_key=servers.KEY,
        config=Config(s3={"addressing_style": "path"}, signature_version="s3v4", max_pool_connections=32),
    )


class GCSBench(Bench):
    """Sees the bucket, a new one by default, through plain HTTP."""

    def __init__(self, endpoint: str, root: str = "team/ünit test", bucket: str = "") -> None:
        self.endpoint = endpoint
        self.bucket = bucket or f"keepsake-{uuid.uuid4().hex}"
        self.root = root
        self.url = f"gs://{self.bucket}/{root}"
        if not bucket:
            self.call("POST", "/storage/v1/b?project=test", json.dumps({"name": self.bucket}).encode())
            self._put(f"{root}x/neighbour", b"not ours")

    def listed(self) -> set[str]:
        query = urllib.parse.urlencode({"prefix": f"{self.root}/", "maxResults": 5000})
        listed = json.loads(self.call("GET", f"/storage/v1/b/{self.bucket}/o?{query}"))
        return {item["name"][len(self.root) + 1 :] for item in listed.get("items", [])}

    def read(self, key: str) -> bytes:
        return self.call("GET", f"{self._path(key)}?alt=media")

    def write(self, key: str, data: bytes) -> None:
        self._put(f"{self.root}/{key}", data)

    def remove(self, key: str) -> None:
        self.call("DELETE", self._path(key))

    def call(self, method: str, path: str, data: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/octet-stream"}
        request = urllib.request.Request(self.endpoint + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())

    def _put(self, name: str, data: bytes) -> None:
        query = urllib.parse.urlencode({"uploadType": "media", "name": name})
        self.call("POST", f"/upload/storage/v1/b/{self.bucket}/o?{query}", data)

    def _path(self, key: str) -> str:
        return f"/storage/v1/b/{self.bucket}/o/{urllib.parse.quote(f'{self.root}/{key}', safe='')}"
