"""An import path of Keepsake 0.4.2, for scripts that use it."""

from __future__ import annotations

from json import JSONEncoder
from typing import Any

from keepsake.util.values import encode


class CustomJSONEncoder(JSONEncoder):
    """Encodes values as params and metrics are recorded."""

    def default(self, o: Any) -> Any:
        """Return the recorded form of `o`. Raises ValidationError, a ValueError, if it cannot be recorded."""
        return encode(o, "value")
