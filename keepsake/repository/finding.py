"""What a person calls an experiment or checkpoint: an ID or its first digits, `latest`, `best`, `-2`, `5ffb0f6:best`.

This is the only place that knows these names. Whatever takes an ID takes each of them.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from keepsake.exceptions import AmbiguousID, DoesNotExist
from keepsake.listing.summary import Summary
from keepsake.metadata import (
    Record,
    best_checkpoint,
    checkpoints_of,
    latest_checkpoint,
    pick_best,
    pick_latest,
    primary_metric,
)
from keepsake.repository.view import View
from keepsake.util.console import plural
from keepsake.util.ids import short_id
from keepsake.util.values import decode

BEST, LATEST = "best", "latest"
WORDS = {
    LATEST: "the experiment that was created last",
    BEST: "the experiment with the best primary metric",
}
_FROM_THE_END = re.compile(r"-[0-9]+")
_OF_EXPERIMENT = re.compile(rf"(.+):({BEST}|{LATEST})", re.DOTALL)


class Found(NamedTuple):
    """A record of an experiment; for a checkpoint, its record too."""

    experiment: Record
    checkpoint: Record | None = None


def is_word(name: str) -> bool:
    """Whether a name says what is meant in words, rather than by an ID: `latest`, `best`, `-2`, `5ffb0f6:best`."""
    return name in (BEST, LATEST) or bool(_FROM_THE_END.fullmatch(name) or _OF_EXPERIMENT.fullmatch(name))


def is_negative(name: str) -> bool:
    """Whether a name begins like an option but is none: `-1`, `-2:best`."""
    of_experiment = _OF_EXPERIMENT.fullmatch(name)
    return bool(_FROM_THE_END.fullmatch(of_experiment[1] if of_experiment else name))


def find(view: View, name: str) -> Found:
    """Return the only experiment or checkpoint with that name. Raises DoesNotExist, AmbiguousID."""
    if (of_experiment := _OF_EXPERIMENT.fullmatch(name)) is not None:
        return _checkpoint_of(find_experiment(view, of_experiment[1]), of_experiment[2])
    if is_word(name):
        return Found(_experiment_by_word(view, name))
    return _only(view, _beginning(view, name), name, "experiment or checkpoint")


def find_experiment(view: View, name: str) -> Record:
    """Return the only experiment with that name. Raises DoesNotExist, AmbiguousID."""
    if is_word(name):
        found = find(view, name)
    else:
        found = _only(view, [each for each in _beginning(view, name) if not each.checkpoint], name, "experiment")
    if found.checkpoint is not None:
        raise DoesNotExist(f"{name!r} is a checkpoint, and an experiment is needed. Give the experiment's ID.")
    return found.experiment


def find_checkpoint(view: View, name: str) -> Found:
    """Return the only checkpoint with that name. Raises DoesNotExist, AmbiguousID.

    `best` is the best checkpoint of the best experiment, and `latest` the one that was created last.
    """
    if name == BEST:
        return _checkpoint_of(_best(view), BEST)
    if name == LATEST:
        return _latest_checkpoint(view)
    if _OF_EXPERIMENT.fullmatch(name):
        return find(view, name)
    found = [] if is_word(name) else _beginning(view, name)
    checkpoints = [each for each in found if each.checkpoint is not None]
    if is_word(name) or (found and not checkpoints):
        raise DoesNotExist(
            f"{name!r} is an experiment, and a checkpoint is needed. "
            f"'{name}:{BEST}' and '{name}:{LATEST}' are checkpoints of it."
        )
    return _only(view, checkpoints, name, "checkpoint")


def _beginning(view: View, prefix: str) -> list[Found]:
    """Return every experiment, and every checkpoint with its experiment, whose ID begins with `prefix`."""
    if not prefix:
        raise DoesNotExist("An empty ID matches everything. Give at least its first digits.")
    return [Found(*pair) for pair in view.find(prefix)]


def _only(view: View, found: list[Found], prefix: str, what: str) -> Found:
    if not found:
        raise DoesNotExist(
            f"There is no {what} whose ID begins with {prefix!r} in {view.repository.url}. {_advice(view, prefix)}"
        )
    if len(found) > 1:
        raise AmbiguousID(f"{prefix!r} is ambiguous: {len(found)} IDs begin with it. Give more digits.")
    return found[0]


def _advice(view: View, name: str) -> str:
    """Return what to do about a name that finds nothing."""
    import difflib  # only here, because it takes a while

    named = [summary for summary in view.summaries() if summary.name == name]
    if named:
        return f"Experiment {short_id(named[-1].id)} has that name. Give its ID."
    similar = difflib.get_close_matches(name, WORDS, n=1)
    return f"Did you mean {similar[0]!r}?" if similar else "`keepsake ls` lists all experiments."


def _experiment_by_word(view: View, word: str) -> Record:
    return _best(view) if word == BEST else _from_the_end(view, word)


def _from_the_end(view: View, word: str) -> Record:
    summaries, number = view.summaries(), 1 if word == LATEST else -int(word)
    if not summaries:
        raise DoesNotExist(f"There are no experiments in {view.repository.url}, so {word!r} stands for none.")
    if not 0 < number <= len(summaries):
        count = plural(len(summaries), "experiment")
        names = f"The names -1 to -{len(summaries)} are theirs."
        raise DoesNotExist(f"There is no experiment -{number} in {view.repository.url}: it has {count}. {names}")
    return view.load(summaries[-number].id)


def _best(view: View) -> Record:
    """Return the experiment with the best value of the primary metric; of several, the one that was created last."""
    candidates = [(summary, summary.best) for summary in view.summaries() if summary.best]
    primaries = [_primary(view, summary, best) for summary, best in candidates]
    if not candidates:
        raise DoesNotExist(
            f"No experiment in {view.repository.url} has a best checkpoint, because none has a value of a primary "
            'metric. Pass primary_metric=("loss", "minimize") to checkpoint(), or name an experiment by its ID.'
        )
    if len(set(primaries)) > 1:
        counts = ", ".join(f"{name} ({goal}) in {count}" for (name, goal), count in Counter(primaries).most_common())
        raise AmbiguousID(
            f"The experiments have different primary metrics, so none of them is the best: {counts}. Name one by its "
            "ID. `keepsake ls --sort NAME` sorts by a metric."
        )
    (name, goal), *_ = primaries
    values = [decode(best["metrics"].get(name)) for _, best in candidates]
    chosen = pick_best([summary for summary, _ in candidates], values, maximize=goal == "maximize")
    return view.load(chosen[-1].id)


def _primary(view: View, summary: Summary, best: Record) -> tuple[str, str]:
    """Return the name and the goal of an experiment's primary metric, which its best checkpoint may not declare."""
    primary = best["primary_metric"] or primary_metric(checkpoints_of(view.load(summary.id))) or {}
    return str(primary.get("name")), str(primary.get("goal"))


def _latest_checkpoint(view: View) -> Found:
    latest = [(summary, summary.latest) for summary in view.summaries() if summary.latest]
    chosen = pick_latest(latest, [checkpoint["created"] for _, checkpoint in latest])
    if chosen is None:
        raise DoesNotExist(f"There are no checkpoints in {view.repository.url}. `keepsake ls` lists all experiments.")
    return _checkpoint_of(view.load(chosen[0].id), LATEST)


def _checkpoint_of(experiment: Record, kind: str) -> Found:
    checkpoints = checkpoints_of(experiment)
    found = best_checkpoint(checkpoints) if kind == BEST else latest_checkpoint(checkpoints)
    if found is None:
        why = "no value of a primary metric" if checkpoints else "no checkpoints"
        raise DoesNotExist(f"Experiment {short_id(experiment['id'])} has {why}, so it has no {kind} checkpoint.")
    return Found(experiment, found)
