"""Where a test's project keeps its repository: in a folder, on S3 or on Google Cloud Storage."""

from __future__ import annotations

import functools
import uuid
from pathlib import Path

import botocore.loaders
import pytest

from tests.storage import servers
from tests.storage.benches import Bench, DiskBench, GCSBench, S3Bench

# Reading the SDK's description of S3 takes most of the time that making a client takes
_create_loader = functools.cache(botocore.loaders.create_loader)


def lead_to_s3(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Have clients, those of child processes too, use the server at `endpoint`."""
    monkeypatch.setattr("botocore.session.create_loader", _create_loader)
    for name, value in {**servers.S3_ENVIRONMENT, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)


def lead_to_gcs(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """The same for Google Cloud Storage."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", endpoint)


def make_place(scheme: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return an empty place; `folder` is where it is on disk."""
    root = f"tests/{uuid.uuid4().hex}"
    if scheme == "s3":
        lead_to_s3(monkeypatch, servers.moto())
        return S3Bench(servers.moto(), root, _s3_bucket())
    if scheme == "gs":
        lead_to_gcs(monkeypatch, servers.fake_gcs())
        return GCSBench(servers.fake_gcs(), root, _gcs_bucket())
    return DiskBench(folder)


@functools.cache
def _s3_bucket() -> str:
    return S3Bench(servers.moto()).bucket


@functools.cache
def _gcs_bucket() -> str:
    return GCSBench(servers.fake_gcs()).bucket
