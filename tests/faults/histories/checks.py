"""Whether everything that was promised is there, and nothing that was removed."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.histories.holdings import Holding, digest
from tests.faults.histories.ledger import Ledger, Promise
from tests.faults.histories.world import Place, content


def check(ledger: Ledger, *, is_final: bool = False) -> None:
    """Complain about what is lost, and what has come back. At the end, nothing may wait any more."""
    ledger.look()
    for (place, experiment), promise in ledger.promised.items():
        if (place, experiment) not in ledger.uncertain:
            for problem in _Check(ledger, place, experiment, promise, is_final).problems():
                ledger.complain(problem)
    for place, experiment in ledger.removed:
        if experiment in ledger.held[place].records and place not in ledger.forced[experiment]:
            ledger.complain(f"removed experiment {experiment[:7]} is back in {place}")
    if is_final:
        for place in ledger.mounted():
            for problem in _inconsistent(ledger, place, ledger.held[place]):
                ledger.complain(problem)


class _Check:
    """What is promised of one experiment in one place."""

    def __init__(self, ledger: Ledger, place: Place, experiment: str, promise: Promise, is_final: bool) -> None:
        self.ledger, self.place, self.experiment, self.promise = ledger, place, experiment, promise
        places = {place, *ledger.forced[experiment]} & ledger.held.keys()
        self.holdings = [ledger.held[each] for each in places]
        self.waiting = ledger.waiting[experiment]
        arrived = ledger.world.is_mounted(place) and experiment in ledger.held[place].records
        self.may_wait = not (is_final and arrived)

    def problems(self) -> Iterator[str]:
        where = f"of {self.experiment[:7]} in {self.place}"
        if not any(self.experiment in holding.records for holding in self.holdings) and not self.waiting:
            yield f"experiment {self.experiment[:7]} in {self.place} is lost"
            return
        for id in sorted(self.promise.checkpoints):
            if not self._has_checkpoint(id) and not self._is_replaced(id, with_files=False):
                yield f"checkpoint {id[:7]} {where} is lost"
        for id in sorted(self.promise.archives):
            if not self._may_be_gone(id) and not self._has_files(id):
                aside = " (moved aside)" if any(holding.is_aside(id) for holding in self.holdings) else ""
                yield f"the archive {id[:7]} {where} is lost{aside}"
        if not self.waiting and not self.promise.tags <= self._tags():
            yield f"tags {sorted(self.promise.tags - self._tags())} {where} are lost"

    def _has_checkpoint(self, id: str) -> bool:
        waits = self.may_wait and any(id in each.checkpoints for each in self.waiting)
        return waits or any(id in holding.checkpoints(self.experiment) for holding in self.holdings)

    def _has_files(self, id: str) -> bool:
        """Whether the files are there with the right content."""
        if id == self.experiment:
            key = self.ledger.runs[id].key
            name = f"code{key}/data.bin"
        else:
            key = self.ledger.saved[id].key
            name = f"model{key}.bin"
        right = digest(content(key))
        waits = self.may_wait and any(each.files(id).get(name) == right for each in self.waiting)
        return waits or any(holding.files(self.experiment, id).get(name) == right for holding in self.holdings)

    def _tags(self) -> set[str]:
        records = (holding.records.get(self.experiment) or {} for holding in self.holdings)
        return {tag for record in records for tag in record.get("tags") or ()}

    def _may_be_gone(self, id: str) -> bool:
        """Whether the files of a checkpoint were let go: by a restart, or by the run's own `keep`."""
        if id not in self.ledger.saved:
            return id not in self.ledger.runs  # of a run that was killed before it could report it
        run = self.ledger.runs[self.experiment]
        if run.keep and (id not in run.order[-1:] or any(self._is_followed(holding, id) for holding in self.holdings)):
            return True
        return self._is_replaced(id, with_files=True)

    def _is_followed(self, holding: Holding, id: str) -> bool:
        """Whether later files are there, for which those of `id` may go."""
        checkpoints = holding.checkpoints(self.experiment)
        later = (each for each in checkpoints if id in checkpoints and _created(checkpoints, each, id))
        return any(each in holding.archives and checkpoints[each].get("path") for each in later)

    def _is_replaced(self, id: str, *, with_files: bool) -> bool:
        """Whether a later restart has recorded its step again. Files go only once there are new ones."""
        mine = self.ledger.saved.get(id)
        if mine is None:
            return False
        has_lost_files = bool(self.ledger.runs[self.experiment].keep) or any(
            id in pruned for pruned in self.ledger.pruned.values()
        )
        again = (
            each
            for each in self.ledger.saved.values()
            if (each.experiment, each.at) == (self.experiment, mine.at) and each.restart > mine.restart
        )
        return any(each.has_files or not mine.has_files or (not with_files and has_lost_files) for each in again)


def _created(checkpoints: dict[str, dict[str, str]], one: str, other: str) -> bool:
    return checkpoints[one]["created"] > checkpoints[other]["created"]


def _inconsistent(ledger: Ledger, place: Place, holding: Holding) -> Iterator[str]:
    """Say where the records and the archives of a repository do not agree."""
    expected = set[str]()  # archives that are there or may be
    for experiment, record in holding.records.items():
        if record is None:
            yield f"the record of {experiment[:7]} in {place} cannot be read"
            continue
        named = holding.named(experiment)
        pruned = holding.checkpoints(experiment).values()
        elsewhere = {each["id"] for each in pruned if (each.get("pruned") or {}).get("elsewhere")}
        expected |= named | elsewhere | {*(record.get("replaced") or ())}
        ours = named & {*ledger.saved, *ledger.runs}
        for id in sorted(ours - holding.archives):
            others = [str(other) for other in ledger.mounted() if id in ledger.held[other].archives]
            if others and not any(id in each.archives for each in ledger.waiting[experiment]):
                yield f"the archive {id[:7]} of {experiment[:7]} is not in {place}, but in {others}"
    for id in sorted(holding.archives - expected):
        pruned_here = " and was pruned" if id in ledger.pruned[place] else ""
        yield f"the archive {id[:7]} in {place} is named by no record{pruned_here}"
