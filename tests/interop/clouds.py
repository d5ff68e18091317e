"""Local stand-ins for the clouds, which both sides can be led to: 0.4.2 knows no endpoint setting, so by proxies."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.interop.records import known
from tests.interop.sides import ROOT
from tests.storage import servers

_HOST = "storage.googleapis.com"


BUCKET = "keepsake-test"


@dataclass
class Cloud:
    """What leads each side to a bucket, and what looks into it by another way than either."""

    url: str
    all_keys: Callable[[], set[str]]
    for_original: dict[str, str]
    for_ours: dict[str, str]

    def keys(self, root: str) -> set[str]:
        """Return the keys below a root within the bucket, without the root, and those that 0.4.2 does not know."""
        return known({key.removeprefix(f"{root}/") for key in self.all_keys() if key.startswith(f"{root}/")})


@contextmanager
def s3() -> Iterator[Cloud]:
    """Moto, as a proxy that answers in Amazon's place; both sides trust its certificate."""
    from moto import moto_proxy

    port = servers.free_port()
    command = [sys.executable, "-m", "tests.interop.s3_proxy", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        certificate = str(Path(str(moto_proxy.__file__)).with_name("ca.crt"))
        address = f"http://127.0.0.1:{port}"
        leading = {**servers.S3_ENVIRONMENT, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CA_BUNDLE": certificate}
        leading |= {"HTTPS_PROXY": address, "NO_PROXY": ""}
        client = _s3_client(address, certificate)
        client.create_bucket(Bucket=BUCKET)
        yield Cloud(f"s3://{BUCKET}", lambda: _s3_keys(client), leading, leading)
    finally:
        process.kill()
        process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _s3_client(proxy: str, certificate: str) -> Any:
    import boto3
    from botocore.config import Config

    credentials: Any = {"aws_access_key_id": servers.KEY, "aws_secret_access_key": servers.KEY}
    config = Config(proxies={"https": proxy})
    return boto3.client("s3", region_name="us-east-1", config=config, verify=certificate, **credentials)


def _s3_keys(client: Any) -> set[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return {item["Key"] for page in pages for item in page.get("Contents", ())}


@contextmanager
def gs() -> Iterator[Cloud]:
    """fake-gcs-server; for 0.4.2 with a forward proxy that mends what its client asks of an emulator."""
    server = servers.fake_gcs()

    class Forwarder(_Forwarder):
        upstream = urlsplit(server).netloc

    with ThreadingHTTPServer(("127.0.0.1", 0), Forwarder) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{proxy.server_address[1]}"
        project = {"GOOGLE_CLOUD_PROJECT": "test", "NO_GCE_CHECK": "true", "NO_PROXY": ""}
        _ask(f"{server}/storage/v1/b?project=test", name=BUCKET)
        yield Cloud(
            f"gs://{BUCKET}",
            lambda: {item["name"] for item in _ask(f"{server}/storage/v1/b/{BUCKET}/o").get("items", ())},
            for_original={**project, "STORAGE_EMULATOR_HOST": "http://gcs.test", "HTTP_PROXY": address},
            for_ours={**project, "STORAGE_EMULATOR_HOST": server},
        )
        proxy.shutdown()


def _ask(url: str, **data: str) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(data).encode() if data else None, headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


class _Forwarder(BaseHTTPRequestHandler):
    """0.4.2 leaves `/storage/v1` out, and asks `//http` for uploads and buckets."""

    protocol_version = "HTTP/1.1"
    upstream: str

    def _forward(self) -> None:
        target = urlsplit(self.path)
        path = re.sub("^/+", "/", target.path)
        path = f"/storage/v1{path}" if path == "/b" or path.startswith("/b/") else path
        left_out = ("connection", "content-length", "host", "proxy-connection", "transfer-encoding")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        connection = http.client.HTTPConnection(self.upstream)
        connection.request(self.command, f"{path}?{target.query}", self._body(), {**headers, "Host": _HOST})
        answer = connection.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in left_out:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        connection.close()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _forward  # noqa: N815 - the base class names them so

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length")
        if length is not None:
            return self.rfile.read(int(length))
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return None
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
