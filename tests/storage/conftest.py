"""Benches on real servers, and what the environment of their clients must say."""

from __future__ import annotations

import pytest
from google.cloud.storage.retry import DEFAULT_RETRY

from keepsake.storage import downloads, gcs, s3
from tests.storage import servers
from tests.storage.benches import GCSBench, S3Bench
from tests.storage.places import lead_to_gcs, lead_to_s3


@pytest.fixture
def s3_bench(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> S3Bench:
    """A bucket on the server that the test's class names, or on moto's; with short pages and batches."""
    endpoint = getattr(request.cls, "server", servers.moto)()
    monkeypatch.setattr(s3, "_PAGE", 100)
    monkeypatch.setattr(s3.S3Storage, "batch", 100)
    lead_to_s3(monkeypatch, endpoint)
    return S3Bench(endpoint)


@pytest.fixture
def gcs_bench(monkeypatch: pytest.MonkeyPatch) -> GCSBench:
    """A bucket on fake-gcs-server, with short pages."""
    monkeypatch.setattr(gcs, "_PAGE", 100)
    lead_to_gcs(monkeypatch, servers.fake_gcs())
    return GCSBench(servers.fake_gcs())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of buckets give up at once, so that a test of giving up takes no time."""
    monkeypatch.setattr(downloads, "_PAUSE", 0.0)
    monkeypatch.setattr(s3, "_ATTEMPTS", 1)
    monkeypatch.setattr(s3, "_READ", 0.5)
    monkeypatch.setattr(gcs, "_PATIENCE", {"timeout": (1, 0.5), "retry": DEFAULT_RETRY.with_timeout(0)})
