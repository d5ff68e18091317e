"""The encoding of curves: what goes in comes out, in few bytes."""

from __future__ import annotations

import base64
import gzip
import math
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsake.report.payload import (
    Pool,
    encode_floats,
    encode_integers,
    pack,
    reduce_positions,
    reduce_values,
    time_knots,
)

RELATIVE = 1.6e-5


def decode_floats(data: bytes) -> list[float]:
    """assets/data.js does the same."""
    count = len(data) // 3
    values, code = [], 0
    for place in range(count):
        zigzag = data[place] | data[count + place] << 8 | data[2 * count + place] << 16
        code = (code + ((zigzag >> 1) ^ -(zigzag & 1))) & 0xFFFFFF
        bits = code << 8 ^ 0x80000000 if code & 0x800000 else ~(code << 8 | 0xFF) & 0xFFFFFFFF
        values.append(struct.unpack("<f", struct.pack("<I", bits))[0])
    return values


def decode_integers(encoded: list[int]) -> list[int]:
    values = encoded[:1]
    for place in range(1, len(encoded), 2):
        for _ in range(encoded[place + 1]):
            values.append(values[-1] + encoded[place])
    return values


@given(st.lists(st.floats(width=32, allow_subnormal=False)))
def test_floats_come_back_nearly(values: list[float]) -> None:
    decoded = decode_floats(encode_floats(values))
    assert len(decoded) == len(values)
    for value, found in zip(values, decoded, strict=True):
        if math.isfinite(value):
            assert found == pytest.approx(value, rel=RELATIVE, abs=1e-37)
        else:
            assert str(found) == str(value)


@pytest.mark.parametrize("value", [0.0, 1.0, -1.0, 0.5, 100.0, -65535.0, math.inf, -math.inf])
def test_simple_values_come_back_exactly(value: float) -> None:
    assert decode_floats(encode_floats([value])) == [value]


def test_values_beyond_32_bits_stay_finite() -> None:
    high, low = decode_floats(encode_floats([1e300, -1e300]))
    assert high > 3e38
    assert low < -3e38
    assert math.isfinite(high)
    assert math.isfinite(low)


def test_a_value_of_a_curve_takes_about_two_characters() -> None:
    random.seed(1)
    values = [2 * math.exp(-step / 300) + random.gauss(0, 0.02) for _ in range(20) for step in range(1000)]
    assert len(pack(encode_floats(values))) / len(values) < 2.7


@given(st.lists(st.integers(-(2**53), 2**53)))
def test_integers_come_back(values: list[int]) -> None:
    assert decode_integers(encode_integers(values)) == values


def test_steps_take_hardly_any_room() -> None:
    assert encode_integers(list(range(0, 10_000, 10))) == [0, 10, 999]


def test_what_is_packed_is_plain_base64_and_always_the_same() -> None:
    text = pack(b"</script>" * 100)
    assert text == pack(b"</script>" * 100)
    assert text.isascii()
    assert not set(text) & set("<>&\"'-")
    assert gzip.decompress(base64.b64decode(text)) == b"</script>" * 100


def test_a_pool_holds_each_value_once() -> None:
    pool = Pool()
    assert [pool.number(value) for value in "abca"] == [0, 1, 2, 0]
    assert pool.values() == ["a", "b", "c"]


def test_reducing_keeps_peaks_and_their_order() -> None:
    values = [1.0] * 1000
    values[370], values[371] = 9.0, -9.0
    values[10:20] = [math.nan] * 10
    reduced, positions = reduce_values(values, 100), reduce_positions(1000, 100)
    assert len(reduced) == len(positions) == 100
    assert positions == sorted(positions)
    assert max(value for value in reduced if value == value) == 9.0
    assert reduced.index(9.0) + 1 == reduced.index(-9.0)
    assert abs(positions[reduced.index(9.0)] - 370) < 20


def test_a_part_without_a_number_stays_nan() -> None:
    reduced = reduce_values([math.nan] * 50 + [1.0] * 50, 10)
    assert [value != value for value in reduced] == [True] * 4 + [False] * 6


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=60), st.floats(0.01, 10))
def test_times_between_knots_are_near(gaps: list[float], tolerance: float) -> None:
    seconds = [sum(gaps[: end + 1]) for end in range(len(gaps))]
    knots = time_knots(seconds, tolerance)
    places, times = knots[0::2], knots[1::2]
    assert (places[0], places[-1]) == (0, len(seconds) - 1)
    for (start, from_), (end, to) in zip(
        zip(places, times, strict=True), zip(places[1:], times[1:], strict=True), strict=False
    ):
        for place in range(int(start), int(end) + 1):
            straight = from_ + (to - from_) * (place - start) / (end - start)
            assert straight == pytest.approx(seconds[place], abs=tolerance + 0.01)


def test_steady_times_need_two_knots() -> None:
    assert time_knots([2.0 * place for place in range(1000)], 0.1) == [0, 0.0, 999, 1998.0]
