"""The trial of Optuna that a training belongs to. Most frameworks do not tell callbacks that an exception ended one."""

from __future__ import annotations

import sys
from typing import Any


def surrounding_trial() -> Any:
    """Return the trial whose objective is running in this thread; None if there is none."""
    optuna = sys.modules.get("optuna.trial")
    kind = getattr(optuna, "Trial", None)
    frame = sys._getframe() if kind else None
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if type(value) is kind:
                return value
        frame = frame.f_back
    return None


def is_pruned(trial: Any) -> bool:
    """Whether a trial has ended because it was pruned."""
    return any(each.number == trial.number and each.state.name == "PRUNED" for each in trial.study.get_trials(False))
