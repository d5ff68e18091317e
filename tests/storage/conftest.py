"""Benches on real servers, and what the environment of their clients must say."""

from __future__ import annotations

import functools

import botocore.loaders
import pytest

from keepsake.storage import gcs, s3
from tests.storage import servers
from tests.storage.benches import GCSBench, S3Bench

# Reading the SDK's description of S3 takes most of the time that making a client takes
_create_loader = functools.cache(botocore.loaders.create_loader)


@pytest.fixture
def s3_bench(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> S3Bench:
    """A bucket on the server that the test's class names, or on moto's; with short pages and batches."""
    endpoint = getattr(request.cls, "server", servers.moto)()
    monkeypatch.setattr("botocore.session.create_loader", _create_loader)
    monkeypatch.setattr(s3, "_PAGE", 100)
    monkeypatch.setattr(s3, "_BATCH", 100)
    for name, value in {**servers.S3_ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    return S3Bench(endpoint)


@pytest.fixture
def gcs_bench(monkeypatch: pytest.MonkeyPatch) -> GCSBench:
    """A bucket on fake-gcs-server, with short pages."""
    endpoint = servers.fake_gcs()
    monkeypatch.setattr(gcs, "_PAGE", 100)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)
    return GCSBench(endpoint)
