"""The packages that a program has imported, and their versions, for the record of an experiment.

A package has its distribution's name, as for `pip install`, normalised as in PEP 503: `scikit-learn` for the module
`sklearn`. Keepsake 0.4.2 recorded only packages whose module has the same name.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import Distribution


# The modules that Keepsake and the SDKs of its storage import.
_OWN = (
    " yaml pathspec isal xxhash msgspec click boto3 botocore s3transfer jmespath dateutil six urllib3 certifi google "
    "google_crc32c googleapiclient proto requests idna charset_normalizer chardet cachetools pyasn1 pyasn1_modules "
    "rsa cryptography cffi _cffi_backend OpenSSL "
)
_of_script: frozenset[str] | None = None  # modules that were imported before Keepsake imported its own


def note_modules_of_script() -> None:
    """Record, once, the modules that are imported before Keepsake imports its own."""
    global _of_script
    if _of_script is None:
        _of_script = frozenset(sys.modules.copy())


def modules_of_script() -> list[str]:
    """Return the names of the modules that are imported now, without those that only Keepsake needs."""
    note_modules_of_script()
    known = _of_script or frozenset()
    return [name for name in sys.modules.copy() if name in known or f" {name.partition('.')[0]} " not in _OWN]


def prepare() -> None:
    """Import what `get_imported_packages` needs, so that it imports nothing itself."""
    from importlib.metadata import Distribution, distributions

    methods = {"read_text": lambda *_: "Name: keepsake\nVersion: 1", "locate_file": None}
    example: Distribution = type("Example", (Distribution,), methods)()
    list(distributions(path=[example.version]))  # there is no such directory


def get_imported_packages(modules: Iterable[str] | None = None) -> dict[str, str]:
    """Return name → version of the installed packages that are imported now, sorted by name. It never raises.

    `modules` are the names of imported modules; None: those imported now. The standard library, modules that no package
    installed, and packages with a damaged installation are left out.
    """
    found: dict[str, str] = {}
    with suppress(Exception):
        for distribution in _find_distributions(set(sys.modules.copy() if modules is None else modules)):
            with suppress(Exception):
                name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
                if version := distribution.version:  # None where its installation is damaged
                    found.setdefault(name, str(version))
    return dict(sorted(found.items()))


def is_imported(module: str) -> bool:
    """Whether a module of that name is imported now. Nothing here uses it; scripts for Keepsake 0.4.2 may."""
    return module in sys.modules


def _find_distributions(modules: set[str]) -> Iterator[Distribution]:
    from importlib.metadata import PackageNotFoundError, distribution, distributions

    unknown = set()
    for name in {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - {""}:
        if name.startswith("_"):
            continue
        try:
            yield distribution(name)  # finds most of them in a cached list of directories
        except PackageNotFoundError:
            unknown.add(name)
    if not unknown:
        return
    # Only these are searched for in the list of each distribution's files. A mapping of all names would take longer.
    pattern = re.compile(rf"^(?:{'|'.join(map(re.escape, sorted(unknown)))})[/.].*?(?=,)", re.MULTILINE)
    for candidate in distributions():
        with suppress(Exception):
            files = pattern.findall(candidate.read_text("RECORD") or "")
            if any(_module_name(file) in modules for file in files):
                yield candidate


def _module_name(file: str) -> str:
    """Return `a.b` for `a/b.py`, `a/b/__init__.py` and `a/b.cpython-311-x86_64-linux-gnu.so`."""
    *parents, name = file.split("/")
    stem = name.partition(".")[0]
    return ".".join(parents if stem == "__init__" else [*parents, stem])
