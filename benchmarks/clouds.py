"""`python -m benchmarks.clouds`: over S3 and Cloud Storage, whose stand-ins take 20 ms longer for each request.

They share this machine's cores with the clients. So what a client alone takes of them is measured too; and what was
asked for before, while nothing is written, the proxy answers from memory: the servers are slower than those they
stand for.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import material
from benchmarks.measure import OURS, Bench, Keepsake, Run
from benchmarks.results import Figure, Limit, figure, table
from tests.storage import benches, servers
from tests.storage.proxy import Fault, Proxy, Request, reply

_LATENCY = 0.02  # seconds
_KEPT = ("Content-Type", "Date", "ETag", "Last-Modified", "X-Goog-Generation", "x-goog-generation")
_CHECKPOINTS = 500
_DISK = "on disk"


@dataclass
class Cloud:
    """A repository of the material in a bucket, behind the proxy."""

    name: str
    experiments: int
    place: benches.Bench
    proxy: Proxy
    keepsake: Keepsake
    project: Path


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.clouds", description=__doc__)
    known = {"listing": _listing, "removing": _removing, "recording": _recording}
    parser.add_argument("workload", nargs="*", metavar="WORKLOAD", choices=[[], *known], help=", ".join(known))
    parser.add_argument("--rounds", type=int, metavar="N", default=5, help="measure everything N times (default: 5)")
    parser.add_argument("--experiments", type=int, metavar="N", default=1000, help="that are listed (default: 1000)")
    chosen = parser.parse_args()
    figures: list[Figure] = []
    with Bench(None) as bench:
        for open_cloud in (_s3, _gcs):
            with open_cloud(bench, chosen.experiments) as cloud:
                for name in chosen.workload or known:
                    print(f"Measuring {name} on {cloud.name} …", file=sys.stderr, flush=True)
                    figures += known[name](bench, cloud, chosen.rounds)
    print(table(figures))


def _listing(bench: Bench, cloud: Cloud, rounds: int) -> Iterator[Figure]:
    """keepsake ls"""
    for title, cold, limit in (("cold", True, 1.5), ("warm", False, 0.4)):
        yield from _figures(
            cloud, f"ls, {cloud.experiments:,} × 10, {title}", limit, rounds, partial(_list, cloud, cold)
        )


def _list(cloud: Cloud, cold: bool) -> Run:
    if cold:
        shutil.rmtree(cloud.keepsake.home / "index", ignore_errors=True)
    done = cloud.keepsake.command(cloud.project, "ls", "-q")
    assert len(done.output.split()) == cloud.experiments
    return done


def _removing(bench: Bench, cloud: Cloud, rounds: int) -> Iterator[Figure]:
    """keepsake rm of an experiment with 500 checkpoints"""
    yield from _figures(cloud, f"rm, {_CHECKPOINTS} checkpoints", 2.0, rounds, partial(_remove, cloud))


def _remove(cloud: Cloud) -> Run:
    record = json.loads(
        cloud.place.read(f"metadata/experiments/{material.ids(material.repository(cloud.experiments, 10))[0]}.json")
    )
    record |= {"id": uuid.uuid4().hex * 2, "path": "."}
    checkpoint = {**record["checkpoints"][0], "path": "model"}
    record["checkpoints"] = [{**checkpoint, "id": uuid.uuid4().hex * 2} for _ in range(_CHECKPOINTS)]
    archives = {f"checkpoints/{each['id']}.tar.gz": b"" for each in record["checkpoints"]}
    _seed(cloud.place, {**archives, f"metadata/experiments/{record['id']}.json": json.dumps(record).encode()})
    cloud.proxy.requests.clear()
    done = cloud.keepsake.command(cloud.project, "rm", "--force", record["id"])
    assert f"metadata/experiments/{record['id']}.json" not in cloud.place.listed()
    return done


def _recording(bench: Bench, cloud: Cloud, rounds: int) -> Iterator[Figure]:
    """init() and checkpoint() without files"""

    def program(*arguments: str) -> Run:
        return cloud.keepsake.program(cloud.project, *arguments)

    blocked = [program("init") for _ in range(rounds)]
    yield figure(f"{cloud.name}: init() blocks", {OURS: blocked}, _said("blocked"), Limit(plus=0.5))
    calls = ("metrics", "1000", "0.005")
    there = [program(*calls) for _ in range(rounds)]
    on_disk = [bench.in_project(lambda project: bench.ours.program(project, *calls)) for _ in range(rounds)]
    runs = {OURS: there, _DISK: on_disk}
    yield figure(": metrics-only checkpoint(), median", runs, _said("median"), Limit(1.2, _DISK, 2e-5))
    yield figure(": 99th percentile", runs, _said("p99"), Limit(1.2, _DISK, 1e-3))


def _figures(cloud: Cloud, title: str, limit: float, rounds: int, measured: Callable[[], Run]) -> Iterator[Figure]:
    measured()
    done, requests = [], []
    for _ in range(rounds):
        cloud.proxy.requests.clear()
        done.append(measured())
        requests.append(float(len(cloud.proxy.requests)))
    yield figure(f"{cloud.name}: {title}", {OURS: done}, lambda run: run.seconds, Limit(plus=limit))
    yield figure(": CPU of the client", {OURS: done}, lambda run: run.cpu)
    yield figure(": requests", {OURS: requests}, float, unit="")


def _said(name: str) -> Callable[[Run], float]:
    return lambda done: float(done.said[name])


def _records(experiments: int) -> dict[str, bytes]:
    """The objects of a repository."""
    files = (material.repository(experiments, 10) / material.METADATA).iterdir()
    records = {f"metadata/experiments/{file.name}": file.read_bytes() for file in files}
    return {"repository.json": b'{"version":1}', **records}


def _seed(place: benches.Bench, objects: dict[str, bytes]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: place.write(key, objects[key]), objects))


def _remembering(upstream: str) -> Fault:
    """Answer what was read since the last write from memory."""
    answers: dict[str, bytes] = {}

    def fault(request: Request) -> bytes | None:
        if request.target.startswith("/batch/"):
            return _batch(request.body.count(b"\nDELETE "))
        if request.method != "GET":
            answers.clear()
        elif request.target not in answers:
            try:
                who = {"Authorization": request.headers.get("authorization", "")}
                with urllib.request.urlopen(urllib.request.Request(upstream + request.target, headers=who)) as answer:
                    kept = {name.replace("-", "_"): value for name, value in answer.headers.items() if name in _KEPT}
                    answers[request.target] = reply("200 OK", answer.read().decode(), **kept)
            except urllib.error.HTTPError as error:
                error.close()
        return answers.get(request.target) if request.method == "GET" else None

    return fault


def _batch(deletions: int) -> bytes:
    """Google's answer to many deletions at once, which its stand-in does not know."""
    part = "--x\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\r\n"
    return reply("200 OK", part * deletions + "--x--", Content_Type="multipart/mixed; boundary=x")


@contextmanager
def _s3(bench: Bench, experiments: int) -> Iterator[Cloud]:
    place = benches.S3Bench(servers.moto(), "bench")
    with _cloud(bench, "S3", experiments, place, servers.moto(), "AWS_ENDPOINT_URL") as cloud:
        yield cloud


@contextmanager
def _gcs(bench: Bench, experiments: int) -> Iterator[Cloud]:
    place = benches.GCSBench(servers.fake_gcs(), "bench")
    with _cloud(bench, "GCS", experiments, place, servers.fake_gcs(), "STORAGE_EMULATOR_HOST") as cloud:
        yield cloud


@contextmanager
def _cloud(
    bench: Bench, name: str, experiments: int, place: benches.Bench, server: str, variable: str
) -> Iterator[Cloud]:
    _seed(place, _records(experiments))
    project = bench.project()
    (project / "keepsake.yaml").write_text(f"repository: {place.url}\n")
    with Proxy(server, latency=_LATENCY, fault=_remembering(server)).running() as proxy:
        environment: dict[str, Any] = {**servers.S3_ENVIRONMENT, variable: proxy.address}
        yield Cloud(name, experiments, place, proxy, replace(bench.ours, environment=environment), project)


if __name__ == "__main__":
    main()
