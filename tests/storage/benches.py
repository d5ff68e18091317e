"""The storages under test, each with a back door that does not go through it."""

from __future__ import annotations

import functools
import json
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from keepsake.storage import open_storage
from tests.storage import servers
from tests.storage.memory import MemoryStorage


class MemoryBench:
    """Sees the dict itself."""

    def __init__(self) -> None:
        self.storage = MemoryStorage()

    def seed(self, objects: dict[str, bytes]) -> None:
        for key, data in objects.items():
            self.storage.seed(key, data)

    def contents(self) -> dict[str, bytes]:
        return {key: found.data for key, found in self.storage.objects.items()}


class DiskBench:
    """Sees the folder through pathlib."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        self.storage = open_storage(f"file://{str(root).replace('%', '%25')}")

    def seed(self, objects: dict[str, bytes]) -> None:
        for key, data in objects.items():
            path = self.root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def contents(self) -> dict[str, bytes]:
        files = (path for path in self.root.rglob("*") if path.is_file())
        return {path.relative_to(self.root).as_posix(): path.read_bytes() for path in files}


class S3Bench:
    """Sees the bucket through a client of its own, set up otherwise than the one under test."""

    def __init__(self, endpoint: str, root: str = "team/ünit test") -> None:
        self.bucket = f"keepsake-{uuid.uuid4().hex}"
        self.root = root
        self.client = _s3_client(endpoint)
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


@functools.cache
def _s3_client(endpoint: str) -> Any:
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=servers.KEY,
        aws_secret_access_key=servers.KEY,
        config=Config(s3={"addressing_style": "path"}, signature_version="s3v4", max_pool_connections=32),
    )


class GCSBench:
    """Sees the bucket through plain HTTP."""

    def __init__(self, endpoint: str, root: str = "team/ünit test") -> None:
        self.endpoint = endpoint
        self.bucket = f"keepsake-{uuid.uuid4().hex}"
        self.root = root
        self._call("POST", "/storage/v1/b?project=test", json.dumps({"name": self.bucket}).encode())
        self._put(f"{root}x/neighbour", b"not ours")
        self.storage = open_storage(f"gs://{self.bucket}/{root}")

    def seed(self, objects: dict[str, bytes]) -> None:
        for key, data in objects.items():
            self._put(f"{self.root}/{key}", data)

    def contents(self) -> dict[str, bytes]:
        query = urllib.parse.urlencode({"prefix": f"{self.root}/", "maxResults": 5000})
        listed = json.loads(self._call("GET", f"/storage/v1/b/{self.bucket}/o?{query}"))
        names = [item["name"] for item in listed.get("items", [])]
        return {name[len(self.root) + 1 :]: self._get(name) for name in names}

    def _put(self, name: str, data: bytes) -> None:
        query = urllib.parse.urlencode({"uploadType": "media", "name": name})
        self._call("POST", f"/upload/storage/v1/b/{self.bucket}/o?{query}", data)

    def _get(self, name: str) -> bytes:
        return self._call("GET", f"/storage/v1/b/{self.bucket}/o/{urllib.parse.quote(name, safe='')}?alt=media")

    def _call(self, method: str, path: str, data: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/octet-stream"}
        request = urllib.request.Request(self.endpoint + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())
