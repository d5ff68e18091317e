"""Seconds that pass, for waits and deadlines.

A test may stop the clocks of `time` (freezegun does), and a wait by them would never end. This one it does not know.
"""

from __future__ import annotations

import sys
import time
from functools import partial

if sys.platform == "win32":
    monotonic = time.monotonic
else:
    monotonic = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
