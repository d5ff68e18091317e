"""Google Cloud Storage keeps the contract, and what only it can get wrong."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
import uuid

import pytest

from keepsake.storage import gcs, open_storage
from tests.storage import servers
from tests.storage.contract import StorageContract


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


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> GCSBench:
    endpoint = servers.fake_gcs()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
    monkeypatch.setattr(gcs, "_PAGE", 100)
    return GCSBench(endpoint)


class TestFakeGCS(StorageContract):
    @pytest.fixture
    def bench(self, bench: GCSBench) -> GCSBench:
        return bench
