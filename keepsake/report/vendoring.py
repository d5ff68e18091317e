"""Fetches the libraries in the report from npm's registry: `make vendor`.

vendor/vendor.json names versions and checksums. A package must match its integrity, which the registry
publishes, and each file its sha256. To take a newer version, change both and run this: it prints what it found.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import sys
import tarfile
import urllib.request
from pathlib import Path
from typing import Any

VENDOR = Path(__file__).parent / "vendor"
REGISTRY = "https://registry.npmjs.org"


def fetch(url: str) -> bytes:
    """Return what is at a URL of the registry."""
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - https, and checked below
        data: bytes = answer.read()
    return data


def update(package: dict[str, Any]) -> list[str]:
    """Fetch a package and write its files; return what does not match."""
    name, version = package["name"], package["version"]
    data = fetch(f"{REGISTRY}/{name}/-/{name}-{version}.tgz")
    integrity = f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}"
    if integrity != package["integrity"]:
        return [f"{name} {version} has the integrity {integrity}"]
    problems = []
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for target, file in package["files"].items():
            member = archive.extractfile(f"package/{file['from']}")
            content = member.read() if member else b""
            found = hashlib.sha256(content).hexdigest()
            if found != file["sha256"]:
                problems.append(f"{target} has the sha256 {found}")
            else:
                (VENDOR / target).write_bytes(content)
    latest = json.loads(fetch(f"{REGISTRY}/{name}/latest"))["version"]
    note = "" if latest == version else f"; the newest version is {latest}"
    print(f"{name} {version}: {', '.join(package['files'])}{note}")  # noqa: T201
    return problems


if __name__ == "__main__":
    found = [
        problem for package in json.loads((VENDOR / "vendor.json").read_text("utf-8")) for problem in update(package)
    ]
    if found:
        sys.exit("Not what vendor.json says: " + "; ".join(found) + ".")
