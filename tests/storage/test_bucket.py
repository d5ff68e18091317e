"""What both clouds have in common: servers that refuse, cut, hang or lose answers, and what goes over the line."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from keepsake.exceptions import PreconditionFailed, ReadError, WriteError
from keepsake.storage import Storage, open_storage
from tests.storage import servers
from tests.storage.benches import Bench
from tests.storage.contract import MIB, noise
from tests.storage.proxy import Proxy, Request, refusing, reply

SERVERS = {"s3": (servers.moto, "AWS_ENDPOINT_URL"), "gcs": (servers.fake_gcs, "STORAGE_EMULATOR_HOST")}


class Cloud(NamedTuple):
    """A bucket, and the storage that reaches it through a proxy."""

    bench: Bench
    proxy: Proxy
    storage: Storage


@pytest.fixture(params=SERVERS)
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Each cloud."""
    server, variable = SERVERS[request.param]
    bench: Bench = request.getfixturevalue(f"{request.param}_bench")
    with Proxy(server()).running() as proxy:
        monkeypatch.setenv(variable, proxy.address)
        yield Cloud(bench, proxy, open_storage(bench.url))


def test_a_range_transfers_little_more_than_itself(cloud: Cloud) -> None:
    """A small file out of a large archive is one small request, from within or from the end."""
    cloud.bench.seed({"k": noise(30 * MIB)})
    for start, length in ((20 * MIB, 1000), (-1000, None)):
        with cloud.storage.open("k", start=start, length=length) as stream:
            assert len(stream.read()) == 1000
    assert [request.headers["range"] for request in cloud.proxy.requests] == [
        f"bytes={20 * MIB}-{20 * MIB + 999}",
        "bytes=-1000",
    ]


def test_a_stream_left_early_fetches_only_its_beginning(cloud: Cloud) -> None:
    cloud.bench.seed({"k": noise(30 * MIB)})
    with cloud.storage.open("k") as stream:
        stream.read(10)
    assert [request.headers["range"] for request in cloud.proxy.requests] == [f"bytes=0-{MIB - 1}"]


def test_nothing_is_lost_if_a_third_of_requests_is_refused(cloud: Cloud) -> None:
    cloud.proxy.fault = refusing(0.3)
    objects = {f"k{number}": noise(100, number) for number in range(20)} | {"large": noise(40 * MIB)}
    for key, data in objects.items():
        cloud.storage.upload(key, io.BytesIO(data))
    assert {key: data for key, data, _ in cloud.storage.get_many(objects)} == objects
    assert cloud.bench.contents() == objects
    assert len(cloud.proxy.requests) > 50


def test_content_is_complete_though_every_other_answer_is_cut(cloud: Cloud) -> None:
    data = noise(20 * MIB)
    cloud.bench.seed({"k": data})
    count = itertools.count()
    cloud.proxy.fault = lambda request: "cut" if next(count) % 2 == 0 else None
    assert cloud.storage.get("k")[0] == data
    with cloud.storage.open("k") as stream:
        assert stream.read() == data


def test_what_has_arrived_is_not_fetched_again(cloud: Cloud) -> None:
    """On a line that cuts each answer after a while, an object arrives piece by piece."""
    data = noise(3 * MIB // 2)
    cloud.bench.seed({"k": data})
    cloud.proxy.fault = lambda request: 2 * MIB // 3
    assert cloud.storage.get("k")[0] == data
    with cloud.storage.open("k") as stream:
        assert stream.read() == data
    assert cloud.proxy.sent < 2.3 * len(data)


def test_the_end_of_an_object_that_is_shorter_than_asked_for_survives_a_cut(cloud: Cloud) -> None:
    """A reader of archives asks for the last 64 KiB, and many have less."""
    data = noise(50_000)
    cloud.bench.seed({"k": data})
    cuts = iter(["cut"])
    cloud.proxy.fault = lambda request: next(cuts, None)
    with cloud.storage.open("k", start=-65536) as stream:
        assert stream.read() == data


def test_versions_are_not_mixed_after_a_cut(cloud: Cloud) -> None:
    """The object is replaced just then, by a longer or a shorter one. All of the new one is read."""
    for start, first, second in itertools.product((0, -MIB // 2), (MIB, 2 * MIB), (MIB // 4, 3 * MIB)):
        cloud.bench.seed({"k": noise(first, 1)})
        new = noise(second, 2)
        count = itertools.count()

        def fault(request: Request, count: Iterator[int] = count, new: bytes = new) -> str | None:
            number = next(count)
            if number == 1:
                cloud.bench.seed({"k": new})
            return None if number else "cut"

        cloud.proxy.fault = fault
        with cloud.storage.open("k", start=start) as stream:
            assert stream.read() == new[start:]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", ["cut", "hang"])
def test_a_server_that_always_cuts_or_hangs_is_an_error(cloud: Cloud, fault: str) -> None:
    """A read that is too short never looks complete."""
    storage = cloud.storage
    cloud.bench.seed({"k": noise(20 * MIB)})
    with storage.open("k") as stream:
        cloud.proxy.fault = lambda request: fault
        stream.read(MIB)
        with pytest.raises(ReadError, match="/k"):
            stream.read()
    for read in (lambda: storage.get("k"), lambda: storage.open("k")):
        with pytest.raises(ReadError, match="/k"):
            read()
    cloud.proxy.fault = lambda request: "hang"
    with pytest.raises(WriteError, match=r"(?s)/k.*network"):
        storage.put("k", b"")


def test_an_object_that_is_replaced_during_a_read_is_an_error(cloud: Cloud) -> None:
    """The beginning of one version and the end of another are never mixed."""
    cloud.bench.seed({"k": noise(20 * MIB, 1)})
    with cloud.bench.storage.open("k") as stream:
        stream.read(MIB)
        cloud.bench.seed({"k": noise(20 * MIB, 2)})
        with pytest.raises(ReadError, match="replaced or deleted"):
            stream.read()


def test_a_write_whose_answer_is_lost_has_happened(cloud: Cloud) -> None:
    """The SDK tries again. A condition then fails because of our own write, and reading again shows that."""
    answers = iter(["lost"])
    cloud.proxy.fault = lambda request: next(answers, None) if request.method in ("PUT", "POST") else None
    cloud.storage.put("k", b"x")
    answers = iter(["lost"])
    with pytest.raises(PreconditionFailed):
        cloud.storage.put("new", b"y", if_absent=True)
    assert cloud.storage.get("new")[0] == b"y"
    assert cloud.bench.contents() == {"k": b"x", "new": b"y"}


def test_the_clock_is_the_servers(cloud: Cloud) -> None:
    """The date of any answer tells it, even that of a refusal."""
    cloud.proxy.fault = lambda request: reply("403 Forbidden", "{}", Date="Sun, 06 Nov 2044 08:49:37 GMT")
    for _ in range(2):
        assert abs(cloud.storage.now() - 2_362_034_977) < 5
    assert len(cloud.proxy.requests) == 1
