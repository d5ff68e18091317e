"""How a run ends, as its record tells it: the reason, and the exception if there is one."""

from __future__ import annotations

from collections.abc import Callable

from keepsake.metadata import Record, time_text
from keepsake.recording import secrets

_MESSAGE_LENGTH = 1000  # characters
_TRACEBACK_LENGTH = 20_000
_HEAD_LENGTH = 5_000  # of a traceback that is cut in the middle
_FRAMES = 100  # of each exception in a traceback, the last ones


class End:
    """The reason why a run ends, such as "finished", and the texts of the exception that ends it, if one does."""

    def __init__(self, reason: str, error: str = "", traceback: str = "") -> None:
        self.reason = reason
        self.error = error
        self.traceback = traceback

    def fields(self) -> Record:
        """Return the fields of a record for a run that ends now."""
        error = {"error": self.error, "traceback": self.traceback} if self.error else {}
        return {"ended": time_text(), "end_reason": self.reason, **error}


def end_by(error: BaseException) -> End:
    """Return the end of a run by an exception that is no SystemExit. Likely secrets in its texts are masked."""
    name = type(error).__name__
    if isinstance(error, KeyboardInterrupt):
        return End("interrupted")
    if name == "SIGTERMException":  # of Lightning
        return End("terminated")
    message = _shown(str, error).strip()[:_MESSAGE_LENGTH]
    text = secrets.hide_in_text(f"{name}: {message}" if message else name)
    return End(f"exception: {name}", text, secrets.hide_in_text(_shown(_traceback, error)))


def _shown(show: Callable[[BaseException], str], error: BaseException) -> str:
    """Return a text of an exception; "" if its own methods fail."""
    try:
        return show(error)
    except Exception:  # noqa: BLE001 - the exception is the user's
        return ""


def _traceback(error: BaseException) -> str:
    import traceback

    text = "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-_FRAMES))
    left_out = len(text) - _TRACEBACK_LENGTH
    if left_out <= 0:
        return text
    tail = text[_HEAD_LENGTH - _TRACEBACK_LENGTH :]
    return f"{text[:_HEAD_LENGTH]}\n[{left_out:,} characters are left out]\n{tail}"
