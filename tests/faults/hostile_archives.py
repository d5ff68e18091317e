"""Hostile archives, generated one after another from a seed."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest import mock

from keepsake.archive import contents as _toc
from keepsake.archive import gzip as _gzip
from keepsake.archive import writer
from keepsake.archive.pack import FrozenFiles, freeze

_ID = "a" * 64
_MAGIC = b"KSTOC1\n\0"  # of a footer
_CHUNK = 1_000  # bytes: several members even in small files
CONTENT = {
    "train.py": b"print('training')\n" * 100,
    "data/weights.bin": random.Random(0).randbytes(5_000),
    "data/empty": b"",
    "a/b/c/d.txt": b"deep" * 300,
}
OUTSIDE = "OUTSIDE"  # stands for the absolute path of a directory that is none of the archive's business
_NAMES = [
    *(f"{'../' * depth}outside/evil" for depth in range(1, 7)),
    *(f"{OUTSIDE}/evil", f"a/{OUTSIDE}/evil", f"{OUTSIDE}/secret", "link/evil", "a/../link/evil"),
    *("../x", "../../x", "a/../../x", "/tmp/x", "//x", "x/", "", ".", "..", "./x", "a//b", "a/./b", "a\\..\\..\\x"),
    *(
        "C:/x",
        "C:\\x",
        "\\\\server\\x",
        "x\0y",
        "~/x",
        "$HOME/x",
        "link/x",
        "link",
        "linked.txt",
        "a/b/c",
        "train.py/x",
    ),
    *(".git/hooks/post-checkout", ".GIT/config", ".keepsake/undo/manifest.json", ".Keepsake/x", "keepsake.yaml"),
    *("n" * 300, "d/" * 600 + "x", "ü/日本", "\udcff", "a\nb", "\x1b[31mred", "-rf", "CON", "a b", "a:b", "outside/x"),
]
_TYPES = [
    *(tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE),
    *(tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK, b"V", b"D", b"Z", b"\0"),
]
_ODD: list[Any] = [
    *(
        None,
        True,
        -1,
        0,
        1,
        2**31,
        2**63,
        2**64,
        10**40,
        1.5,
        float("nan"),
        "",
        "x",
        "1",
        [],
        {},
        [[]],
        [None],
        {"a": 1},
    ),
    *([-1], [0], [2**63], [1] * 1000, "../x", "/x", "\ud800"),
]


class Hostile(NamedTuple):
    """An archive, what kind it is of, and whether reading it may yield nothing but CONTENT."""

    kind: str
    data: bytes
    damaged: bool


def generate(seed: int, outside: str = "/outside") -> Hostile:
    """Return the archive of a seed, made for somebody who would like to have files in the directory `outside`."""
    generator = random.Random(seed)
    makers: list[Callable[[], Hostile]] = [
        lambda: _damaged(generator),
        lambda: _damaged(generator),
        lambda: _made_up_tar(generator, outside),
        lambda: _made_up_table(generator, outside),
        lambda: _bomb(generator),
    ]
    return makers[seed % len(makers)]()


@lru_cache(maxsize=2)
def valid(table: bool) -> bytes:
    """Return an archive of CONTENT: ours with its table of contents, or one as tarfile makes it."""
    with tempfile.TemporaryDirectory() as directory:
        for name, content in CONTENT.items():
            path = Path(directory, "project", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        freeze(Path(directory, "project"), ".", Path(directory, "pack"))
        with mock.patch.object(writer, "CHUNK", _CHUNK), FrozenFiles(Path(directory, "pack")) as frozen:
            if table:
                return writer.write_archive(_ID, frozen).read()
    return _tar([(_info(f"{_ID}/{name}"), content) for name, content in CONTENT.items()])


# Damage: whatever is read without an error must be what was saved


def _damaged(generator: random.Random) -> Hostile:
    data = bytearray(valid(generator.random() < 0.6))
    how = generator.choice(["flip", "flip", "flip", "truncate", "truncate", "cut", "repeat", "insert", "swap", "zero"])
    start, end = sorted(generator.sample(range(len(data) + 1), 2))
    if how == "flip":
        for _ in range(generator.choice([1, 1, 1, 2, 8])):
            data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    elif how == "truncate":
        del data[start:]
    elif how == "cut":
        del data[start:end]
    elif how == "repeat":
        data[end:end] = data[start:end]
    elif how == "insert":
        data[start:start] = generator.randbytes(generator.choice([1, 512, 4_000]))
    elif how == "swap":
        middle = generator.randint(start, end)
        data[start:end] = data[middle:end] + data[start:middle]
    else:
        data[start:end] = bytes(end - start)
    return Hostile(f"{how} at {start}-{end}", bytes(data), damaged=True)


# Lies: whole archives with content of their maker's choice


def _made_up_tar(generator: random.Random, outside: str) -> Hostile:
    members = [(_info(f"{_ID}/train.py"), b"new")]
    for number in range(generator.randint(1, 3)):
        name = generator.choice([generator.choice(_NAMES).replace(OUTSIDE, outside), f"harmless/{number}"])
        info = _info(generator.choice([f"{_ID}/{name}"] * 4 + [name, f"../{name}", f"/{name}"]))
        info.mode = generator.choice([0o644, 0o4777, 0o6755, 0o1777, 0, 0o7777777])
        info.mtime = generator.choice([0, -1, 1 << 40, 1.5, 2**62])
        if generator.random() < 0.25:
            info.type = generator.choice(_TYPES)
            info.linkname = generator.choice(
                ["../outside", "/etc/passwd", "train.py", f"{_ID}/train.py", ".", "x" * 200]
            )
        if generator.random() < 0.1:
            keys = ["path", "size", "mtime", "linkpath", "GNU.sparse.major", "GNU.sparse.name", "x" * 90]
            info.pax_headers = {
                generator.choice(keys): generator.choice(["../x", "-1", "nan", "1e999", "9" * 60, "", "/x"])
            }
        members.append((info, generator.choice([b"", b"evil", b"evil" * 1_000])))
    data = _tar(members, generator.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    return Hostile(f"tar of {[(info.name[-20:], info.type) for info, _ in members]}", data, damaged=False)


def _made_up_table(generator: random.Random, outside: str) -> Hostile:
    """The table of contents lies, but its checksum is right."""
    data = valid(True)
    table = _table_of(data)
    for _ in range(generator.choice([0, 1, 1, 2, 3])):
        _spoil(generator, table, outside)
    text = json.dumps(table).encode()
    if generator.random() < 0.1:
        text = generator.choice([b"[" * 100_000, b"null", b"[]", b"{}", b'"x"', b"1e999", b"", b"\xff", b"{" * 9])
    end = _footer(data).offset
    offset = generator.choice([end, end, end, 0, 2**63, len(data)])
    length = generator.choice([None, None, None, None, 0, 2**40])
    return Hostile("table " + str(text[:80]), data[:end] + table_members(text, offset, length), damaged=False)


def _spoil(generator: random.Random, table: dict[str, Any], outside: str) -> None:
    what = generator.random()
    if what < 0.2:
        table[generator.choice(["start", "chunk", "files", "more"])] = generator.choice(_ODD)
        return
    files = table.get("files")
    if not isinstance(files, list) or not files:
        return
    file = generator.choice(files)
    if not isinstance(file, dict):
        return
    if what < 0.5:
        file["name"] = generator.choice(_NAMES).replace(OUTSIDE, outside)
    elif what < 0.8:
        file[generator.choice(["name", "size", "mode", "mtime_ns", "xxh128", "members"])] = generator.choice(_ODD)
    elif what < 0.9:
        files.append(file)
    else:
        generator.shuffle(files)


def large_bomb() -> bytes:
    """Return an archive, a member of which inflates to 400 MB instead of the 1 kB that its table says."""
    return _with_zeros(_packed(0, 400_000_000))


def _bomb(generator: random.Random) -> Hostile:
    """Much from little: sizes that are not true, members that inflate without end, archives in archives."""
    how = generator.choice(["zeros", "size", "longname", "pax", "nested", "empty members", "table"])
    zeros = _packed(0, 2_000_000)
    if how == "size":
        info = _info(f"{_ID}/big")
        info.size = generator.choice([2**33, 2**60, 10**12])
        data = gzip.compress(info.tobuf() + b"little")
    elif how in ("longname", "pax"):
        info = tarfile.TarInfo("././@LongLink")
        info.type = tarfile.GNUTYPE_LONGNAME if how == "longname" else tarfile.XHDTYPE
        info.size = generator.choice([1 << 20, 1 << 30, 1 << 50])
        data = gzip.compress(info.tobuf()) + zeros * 3
    elif how == "nested":
        data = gzip.compress(gzip.compress(valid(False)))
    elif how == "empty members":
        data = _packed(0, 0) * 3_000 + valid(False)
    elif how == "table":
        packed = _packed(32, generator.choice([10**6, 10**8]))
        footer = struct.pack("<8sQQI", _MAGIC, 0, len(packed), 0)
        data = _gzip.extra_member(b"KT", packed[: _gzip.EXTRA_SIZE]) + _gzip.extra_member(b"KF", footer)
    else:
        data = _with_zeros(zeros)
    return Hostile(how, data, damaged=False)


def _with_zeros(zeros: bytes) -> bytes:
    """Put a member in the place of the first file's, and tell the table how long it is."""
    whole = valid(True)
    table = _table_of(whole)
    start, first = table["start"], table["files"][0]["members"]
    end = _footer(whole).offset
    moved = whole[:start] + zeros + whole[start + first[0] : end]
    first[0] = len(zeros)
    return moved + table_members(json.dumps(table).encode(), len(moved))


def table_members(text: bytes, offset: int, length: int | None = None) -> bytes:
    """Return the members that end an archive: a table of contents and its footer."""
    packed = zlib.compress(text)
    parts = range(0, len(packed), _gzip.EXTRA_SIZE)
    members = b"".join(_gzip.extra_member(b"KT", packed[at : at + _gzip.EXTRA_SIZE]) for at in parts)
    length = len(members) if length is None else length
    return members + _gzip.extra_member(b"KF", struct.pack("<8sQQI", _MAGIC, offset, length, zlib.crc32(text)))


@lru_cache
def _packed(byte: int, count: int) -> bytes:
    """Compress `count` equal bytes, without ever holding them: zeros as gzip does, others as zlib does."""
    compressor = zlib.compressobj(1, wbits=15 if byte else 31)
    part = bytes([byte]) * min(count, 1_000_000)
    parts = [compressor.compress(part) for _ in range(count // len(part) if part else 0)]
    return b"".join(parts) + compressor.flush()


def _info(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = 0o644, 1_600_000_000
    return info


def _tar(members: list[tuple[tarfile.TarInfo, bytes]], format: Literal[1, 2] = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    for info, content in members:
        info.size = len(content)
        try:
            header = info.tobuf(format, "utf-8", "surrogateescape")
        except (ValueError, OverflowError, struct.error):
            continue  # even tarfile does not make this one
        buffer.write(header + content + bytes(-len(content) % 512))
    return gzip.compress(buffer.getvalue() + bytes(1024), 1)


def _footer(data: bytes) -> _toc.Footer:
    footer = _toc.decode_footer(data)
    assert footer is not None
    return footer


def _table_of(data: bytes) -> dict[str, Any]:
    footer = _footer(data)
    packed = b"".join(_payloads(data[footer.offset : footer.offset + footer.length]))
    table: dict[str, Any] = json.loads(zlib.decompress(packed))
    return table


def _payloads(members: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(members):
        payload, position = _gzip.read_extra_member(members, position, b"KT")
        yield payload
