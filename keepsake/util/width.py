"""How many columns of a terminal a text takes, and texts of a given width."""

from __future__ import annotations

import textwrap
import unicodedata
from functools import lru_cache

_WIDE = ("W", "F")  # East Asian characters and emoji that take two columns
_MARKS = ("Mn", "Me", "Cf")  # combining marks and joiners, which take none
_SOFT_HYPHEN = "\u00ad"  # in the category of the joiners, but terminals show it
_HANGUL_VOWELS_AND_FINALS = range(0x1160, 0x1200)  # shown within the syllable before them


def text_width(text: str) -> int:
    """Return the number of columns that a line without control characters takes in a terminal."""
    return len(text) if text.isascii() else sum(map(_width, text))


@lru_cache(maxsize=4096)
def _width(character: str) -> int:
    if unicodedata.category(character) in _MARKS and character != _SOFT_HYPHEN:
        return 0
    if ord(character) in _HANGUL_VOWELS_AND_FINALS:
        return 0
    return 2 if unicodedata.east_asian_width(character) in _WIDE else 1


def pad(text: str, width: int) -> str:
    """Return `text` filled with blanks to a width in columns."""
    return text + " " * (width - text_width(text))


def shorten(text: str, width: int, ellipsis: str = "…") -> str:
    """Return `text` in at most `width` columns. Of a long text, the middle goes: both ends may tell it from others."""
    if text_width(text) <= width:
        return text
    room = width - text_width(ellipsis)
    if room < 2:
        return _beginning(text, width)
    end = _end(text, room // 2)
    return _beginning(text, room - text_width(end)) + ellipsis + end


def cut_end(text: str, width: int, ellipsis: str = "…") -> str:
    """Return `text` in at most `width` columns. Of a long text, the end goes: this is for sentences."""
    if text_width(text) <= width:
        return text
    room = width - text_width(ellipsis)
    return _beginning(text, width) if room < 1 else _beginning(text, room).rstrip() + ellipsis


def cut_start(text: str, width: int, ellipsis: str = "…") -> str:
    """Return `text` in at most `width` columns. Of a long text, the beginning goes: this is for paths."""
    if text_width(text) <= width:
        return text
    room = width - text_width(ellipsis)
    return _end(text, width) if room < 1 else ellipsis + _end(text, room)


def cut_path(text: str, width: int, ellipsis: str = "…") -> str:
    """Return a name with dots in at most `width` columns. It keeps its last parts, whole ones if any fits."""
    tail = cut_start(text, width, ellipsis).removeprefix(ellipsis)
    dot = tail.find(".")
    if tail == text or dot < 0 or text.endswith(f".{tail}"):
        return cut_start(text, width, ellipsis)
    return ellipsis + tail[dot + 1 :]


def wrap(text: str, width: int) -> list[str]:
    """Return a line as lines of at most `width` columns, broken between words where that is possible."""
    if text.isascii():
        return textwrap.wrap(text, width, drop_whitespace=False) or [""]
    lines = []
    while text_width(text) > width:
        line = _beginning(text, width) or text[0]
        line = line[: line.rfind(" ") + 1] or line
        lines.append(line)
        text = text[len(line) :]
    return [*lines, text] if text or not lines else lines


def _beginning(text: str, width: int) -> str:
    """Return as much of the beginning of `text` as fits into `width` columns."""
    used = 0
    for index, character in enumerate(text):
        used += _width(character)
        if used > width:
            return text[:index]
    return text


def _end(text: str, width: int) -> str:
    """Return as much of the end of `text` as fits into `width` columns."""
    end = _beginning(text[::-1], width)[::-1]
    while end and not _width(end[0]):  # a mark without the character that it belongs to
        end = end[1:]
    return end
