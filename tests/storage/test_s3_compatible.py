"""S3 keeps the contract on a second server, which knows neither `If-Match` nor deletion of many at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.storage import servers
from tests.storage.benches import S3Bench
from tests.storage.contract import StorageContract


class TestLocalBucket(StorageContract):
    server: Callable[[], str] = staticmethod(servers.localbucket)
    has_if_match = False
    has_own_etags = False  # it opens the file and then asks its name for the etag: 28 of 3,885 plain requests differed

    @pytest.fixture
    def bench(self, s3_bench: S3Bench) -> S3Bench:
        return s3_bench
