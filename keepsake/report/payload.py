"""How the page's data is written: curves as bytes, everything as base64 of gzip.

A value of a curve takes some 1.9 characters in the page. Floats of 32 bits are mapped to integers in the same order,
and lose their last 8 bits, which leaves a relative error of at most 1.6e-5, on logarithmic axes too. Differences
between neighbours follow, made positive by zigzag coding, and split into planes of bytes, which compress well. NaN and
infinities are kept. `assets/data.js` reads it.
"""

from __future__ import annotations

import base64
import json
import math
import sys
import zlib
from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

MAX_EXACT = 2**53  # the largest integer that JavaScript's numbers hold
_BITS24 = 0xFFFFFF
_MAX_FLOAT = 3.4028234663852886e38  # of 32 bits
_MAX_FINITE, _INFINITY = 0x7F7FFF00, 0x7F800000  # bits of the largest value with 24 bits, and of infinity
_SIGN = 0x80000000
_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 6  # 9 makes a page 1 % smaller and takes a tenth of the time of the whole report


def pack(data: bytes) -> str:
    """Return bytes as base64 of gzip, which cannot be mistaken for HTML. The same bytes give the same text."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)  # its header has no time
    return base64.b64encode(packer.compress(data) + packer.flush()).decode("ascii")


def pack_json(value: Any) -> str:
    """Return a value of dicts, lists, strings, bools, None and finite numbers, packed."""
    return pack(json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii"))


def encode_floats(values: Sequence[float]) -> bytes:
    """Return curves, one after another, as three planes of bytes: the lowest of each value, the middle, the highest."""
    bits = _bits(values)
    if _INFINITY in bits or _INFINITY | _SIGN in bits:  # some may be finite with 64 bits
        bits = _bits([_in_range(value) if abs(value) > _MAX_FLOAT else value for value in values])
    # Most numbers are positive and finite. For them, this does the work of _ordered without a call
    codes = [(each + 0x80) >> 8 | 0x800000 if each < _MAX_FINITE else _ordered(each) >> 8 for each in bits]
    steps = [(code - before) & _BITS24 for code, before in zip(codes, [0, *codes], strict=False)]
    zigzag = array("I", [step << 1 if step < 0x800000 else ((_BITS24 - step) << 1) | 1 for step in steps])
    if sys.byteorder == "big":
        zigzag.byteswap()
    raw = zigzag.tobytes()
    return raw[0::4] + raw[1::4] + raw[2::4]


def _bits(values: Sequence[float]) -> array[int]:
    """Return the bits of each value as a float of 32 bits."""
    return array("I", array("f", values).tobytes())


def _in_range(value: float) -> float:
    """Return a value that is finite as a float of 32 bits if it is finite."""
    return math.copysign(_MAX_FLOAT, value) if math.isfinite(value) else value


def _ordered(bits: int) -> int:
    """Return an integer that sorts as the float with these bits does, rounded to its upper 24 bits."""
    size = bits & 0x7FFFFFFF
    if size < _INFINITY:
        size = min((size + 0x80) & 0x7FFFFF00, _MAX_FINITE)
    elif size > _INFINITY:
        return 0xFFC00000  # one NaN for all
    return size | _SIGN if bits < _SIGN else 0x7FFFFFFF - size


def encode_integers(values: Sequence[int]) -> list[int]:
    """Return integers as the first one, then pairs: a difference, and how often it follows."""
    if not values:
        return []
    encoded = [values[0]]
    for before, value in pairwise(values):
        if len(encoded) > 1 and encoded[-2] == value - before:
            encoded[-1] += 1
        else:
            encoded += [value - before, 1]
    return encoded


class Pool:
    """Values that are written once however often they occur. Each has a number."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    def number(self, value: Any) -> int:
        """Return the number of a hashable value."""
        return self._numbers.setdefault(value, len(self._numbers))

    def values(self) -> list[Any]:
        """Return the values in the order of their numbers."""
        return list(self._numbers)


# Reducing


def reduced_places(count: int, points: int) -> list[tuple[int, int]]:
    """Return the parts (start, end) of `count` values such that two values from each part make `points`."""
    parts = max(points // 2, 1)
    edges = [part * count // parts for part in range(parts + 1)]
    return list(pairwise(edges))


def reduce_positions(count: int, points: int) -> list[int]:
    """Return the positions at which the values that `reduce_values` keeps are shown."""
    return [
        position
        for start, end in reduced_places(count, points)
        for position in (start + (end - start) // 4, start + 3 * (end - start) // 4)
    ]


def reduce_values(values: Sequence[float], points: int) -> list[float]:
    """Return the least and the greatest value of each part of a curve, in the order in which they occur.

    They keep its shape, peaks included. There must be more than `points` values. NaN is kept only where a part has
    nothing else.
    """
    kept: list[float] = []
    for start, end in reduced_places(len(values), points):
        part = [value for value in values[start:end] if value == value] or [math.nan]
        least, greatest = min(part), max(part)
        kept += [least, greatest] if part.index(least) <= part.index(greatest) else [greatest, least]
    return kept


def time_knots(seconds: Sequence[float], tolerance: float) -> list[float]:
    """Return positions and times, in turn, between which straight lines are at most `tolerance` seconds off."""
    last = len(seconds) - 1
    if last < 0:
        return []
    knots = [0]
    while knots[-1] < last:
        knots.append(_reach(seconds, knots[-1], tolerance))
    return [number for knot in knots for number in (knot, round(seconds[knot], 3))]


def _reach(seconds: Sequence[float], start: int, tolerance: float) -> int:
    """Return the last position that a straight line from `start` reaches while it stays near all between."""
    low, high, reached = -math.inf, math.inf, start + 1
    for position in range(start + 1, len(seconds)):
        slope = (seconds[position] - seconds[start]) / (position - start)
        if low <= slope <= high:
            reached = position
        margin = tolerance / (position - start)
        low, high = max(low, slope - margin), min(high, slope + margin)
        if low > high:
            break
    return reached
