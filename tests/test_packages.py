"""get_imported_packages: names and versions of imported packages, in any state of the installation."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import keepsake.packages
from keepsake.packages import get_imported_packages


def install(
    site: Path, name: str, version: str, files: dict[str, str], metadata: str = "Metadata-Version: 2.1\n"
) -> None:
    """Put a package into the directory `site` as pip does."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"{metadata}Name: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in [*files, f"{info.name}/METADATA"]))
    for file, text in files.items():
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text(text)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of installed packages; what a test imports from it is forgotten afterwards."""
    directory = tmp_path / "site-packages"
    directory.mkdir()
    monkeypatch.syspath_prepend(str(directory))
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    return directory


def test_a_package_goes_by_its_own_name_whatever_its_module_is_called(site: Path) -> None:
    install(site, "Keep_Flowers.Pretty", "1.2", {"kflowers/__init__.py": "", "kflowers/iris.py": ""})
    importlib.import_module("kflowers.iris")
    assert get_imported_packages()["keep-flowers-pretty"] == "1.2"


@pytest.mark.parametrize("file", ["kmodule.py", "kmodule/__init__.py"])
def test_a_package_whose_module_has_its_name_is_found(site: Path, file: str) -> None:
    install(site, "KModule", "3.0.post1", {file: ""})
    importlib.import_module("kmodule")
    assert get_imported_packages()["kmodule"] == "3.0.post1"


def test_an_extension_module_is_found(site: Path) -> None:
    """The file's name is enough. Here, a module of that name stands in for it."""
    install(site, "kfast-tools", "2.0", {"kfast.cpython-311-x86_64-linux-gnu.so": ""})
    sys.modules["kfast"] = type(sys)("kfast")
    assert get_imported_packages()["kfast-tools"] == "2.0"


def test_of_the_packages_in_a_namespace_only_the_imported_ones_are_named(site: Path) -> None:
    install(site, "kspace-red", "1.0", {"kspace/red/__init__.py": ""})
    install(site, "kspace-blue", "2.0", {"kspace/blue/__init__.py": ""})
    importlib.import_module("kspace.blue")
    found = get_imported_packages()
    assert found["kspace-blue"] == "2.0"
    assert "kspace-red" not in found


def test_what_is_installed_but_not_imported_is_left_out(site: Path) -> None:
    install(site, "kunused", "1.0", {"kunused.py": ""})
    assert "kunused" not in get_imported_packages()


def test_modules_that_no_package_installed_are_left_out(site: Path) -> None:
    before = get_imported_packages()
    (site / "kscript.py").write_text("")
    importlib.import_module("kscript")
    assert get_imported_packages() == before


def test_the_standard_library_is_left_out_and_real_packages_are_found() -> None:
    found = get_imported_packages()
    assert found["pytest"] == pytest.__version__
    assert found["hypothesis"] == importlib.metadata.version("hypothesis")
    assert not {"json", "sys", "--main--"} & found.keys()


def test_names_are_sorted() -> None:
    assert list(get_imported_packages()) == sorted(get_imported_packages())


def test_a_damaged_package_hides_only_itself(site: Path) -> None:
    for name in ("kbad_record", "kbad_metadata", "kno_metadata", "kno_record"):
        install(site, name, "1.0", {f"{name}_module.py": ""})
        importlib.import_module(f"{name}_module")
    install(site, "kgood", "1.0", {"kgood_module.py": ""})
    importlib.import_module("kgood_module")
    (site / "kbad_record-1.0.dist-info" / "RECORD").write_bytes(b"\xff\xfe")
    (site / "kbad_metadata-1.0.dist-info" / "METADATA").write_bytes(b"\xff\xfe")
    (site / "kno_metadata-1.0.dist-info" / "METADATA").unlink()
    (site / "kno_record-1.0.dist-info" / "RECORD").unlink()
    found = get_imported_packages()
    assert found["kgood"] == "1.0"
    assert not [name for name in found if name.startswith(("kbad", "kno"))]


def test_odd_things_among_the_modules_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hostile:
        def __getattribute__(self, name: str) -> object:
            raise RuntimeError("a lazy module was touched")

    modules = {**sys.modules, "": Hostile(), "khostile": Hostile(), "knone": None}
    monkeypatch.setattr(sys, "modules", modules)
    assert "pytest" in get_imported_packages()


def test_it_does_not_raise_where_python_cannot_tell_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError("no such device")

    monkeypatch.setattr(importlib.metadata, "distributions", fail)
    monkeypatch.setattr(importlib.metadata, "distribution", fail)
    assert get_imported_packages() == {}


def test_the_module_costs_nothing_to_import(run_python: Callable[[str], str]) -> None:
    """importlib.metadata loads email, zipfile and more, and a training script should not wait for that."""
    program = f"import sys, {keepsake.packages.__name__}; print('importlib.metadata' in sys.modules)"
    assert run_python(program) == "False\n"


def test_nothing_is_imported_while_versions_are_read(run_python: Callable[[str], str]) -> None:
    """A process that is forked just then would wait for ever to import the same module."""
    program = (
        "import sys, pytest; from keepsake import packages; packages.prepare(); before = set(sys.modules); "
        "assert packages.get_imported_packages(); print(set(sys.modules) - before)"
    )
    assert run_python(program).strip() == "set()"
