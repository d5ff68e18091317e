"""The page: one HTML file with everything in it. It makes no request, and runs only the scripts that it was made with.

Its content security policy forbids everything, and then allows the scripts by their hashes. All data is base64, and the
scripts show it as text only, so that no recorded value can become a part of the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from keepsake.report.payload import pack, pack_json

SCRIPTS = (
    "state.js",
    "format.js",
    "data.js",
    "grammar.js",
    "filter.js",
    "view.js",
    "importance.js",
    "table.js",
    "charts.js",
    "background.js",
    "axes.js",
    "scatter.js",
    "parallel.js",
    "details.js",
    "codediff.js",
    "export.js",
    "answer.js",
    "main.js",
)
_FAVICON = "data:image/svg+xml;base64," + base64.b64encode(
    b"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'><rect width='16' height='16' rx='4' fill='#0b6bb0'/>"
    b"<path d='M4 3v10M4 9l6-6M6 7l5 6' stroke='#fff' stroke-width='2' fill='none'/></svg>"
).decode("ascii")


def _read(*path: str) -> str:
    return files("keepsake.report").joinpath(*path).read_text("utf-8")


@cache
def _assets() -> dict[str, str]:
    """Return the scripts, the style, and the elements that the scripts fill."""
    return {
        "uplot": _read("vendor", "uPlot.iife.min.js"),
        "diff": _read("vendor", "diff.min.js"),
        "app": '"use strict";\n' + "\n".join(_read("assets", name) for name in SCRIPTS),
        "boot": _read("assets", "boot.js"),
        "style": _read("vendor", "uPlot.min.css") + "\n" + _read("assets", "style.css"),
        "skeleton": _read("assets", "page.html").replace("<!-- licences -->", "".join(map(_licence, vendored()))),
    }


@cache
def _packed_scripts() -> dict[str, str]:
    return {name: pack(_assets()[name].encode("utf-8")) for name in ("uplot", "diff", "app")}


def vendored() -> list[dict[str, Any]]:
    """Return the libraries in the page, as `vendor/vendor.json` describes them."""
    return list(json.loads(_read("vendor", "vendor.json")))


def _licence(library: Mapping[str, Any]) -> str:
    name, text = f"{library['name']} {library['version']}", _read("vendor", library["licence"])
    return f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"


def policy() -> str:
    """Return the content security policy of the page."""
    assets = _assets()
    scripts = " ".join(_hash(assets[name]) for name in ("boot", "uplot", "diff", "app"))
    rest = "img-src data: blob:; base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; script-src {scripts}; style-src {_hash(assets['style'])}; {rest}"


def assemble(title: str, preview: str, meta: Mapping[str, Any], blobs: Mapping[str, bytes]) -> str:
    """Return the page.

    Args:
        title: its title, as text.
        preview: HTML that is shown before the scripts run.
        meta: the data, as JSON.
        blobs: name → further data, as bytes.
    """
    assets = _assets()
    packed = _packed_scripts() | {"meta": pack_json(meta)}
    packed |= {name: pack(data) for name, data in blobs.items()}
    data = "\n".join(f'<script type="text/plain" id="data-{name}">{text}</script>' for name, text in packed.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{escape(title)}</title>
<link rel="icon" href="{_FAVICON}">
<style>{assets["style"]}</style>
</head>
<body>
<main id="page">
{preview}
<noscript><p>Sorting, filtering, curves and code need JavaScript.</p></noscript>
</main>
{data}
<template id="skeleton">{assets["skeleton"]}</template>
<script>{assets["boot"]}</script>
</body>
</html>
"""
