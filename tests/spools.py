"""What tests ask of a project's spool."""

from __future__ import annotations

from pathlib import Path


def nothing_waits(project: Path) -> bool:
    """Whether all of a project's runs are in its repository, with nothing left of them in the spool."""
    spool = project / ".keepsake" / "spool"
    return not spool.exists() or [path.name for path in spool.iterdir()] in ([], ["repositories.json"])
