"""An import path of Keepsake 0.4.2, for scripts that use it."""

import os


def random_hash(length: int = 64) -> str:
    """Return that many random hexadecimal digits, as in an ID."""
    return os.urandom((length + 1) // 2).hex()[:length]
