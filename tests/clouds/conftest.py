"""Projects whose repository is on S3 or Cloud Storage, reached through a proxy where a test asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.storage import servers
from tests.storage.benches import Bench
from tests.storage.places import lead_to_gcs, lead_to_s3
from tests.storage.proxy import Proxy

in_clouds = pytest.mark.parametrize("place", ["s3", "gs"], indirect=True)


@pytest.fixture
def proxy(place: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Stands before the server of the place, for storages that are opened from now on."""
    is_s3 = place.url.startswith("s3:")
    with Proxy(servers.moto() if is_s3 else servers.fake_gcs()).running() as proxy:
        (lead_to_s3 if is_s3 else lead_to_gcs)(monkeypatch, proxy.address)
        yield proxy
