"""One experiment as this process records it: the work of init(), checkpoint() and stop(), from top to bottom."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepsake.exceptions import KeepsakeError, ValidationError
from keepsake.labels import Edit
from keepsake.metadata import Record, checkpoints_of
from keepsake.output import parts_of
from keepsake.packages import get_imported_packages, prepare
from keepsake.recording import ending, signals, switches
from keepsake.recording.announcing import about_best
from keepsake.recording.complaints import Complaints, Problem
from keepsake.recording.contact import go_on, publish_first
from keepsake.recording.freezing import Freezer
from keepsake.recording.place import Place, begun_entry
from keepsake.recording.saver import saver
from keepsake.restarts import attempt_of, attempts
from keepsake.spool import places
from keepsake.spool.entry import Entry
from keepsake.util.console import plural, say, warn
from keepsake.util.files import remove
from keepsake.util.fork import importing, in_forked_child
from keepsake.util.ids import short_id
from keepsake.workplace import Workplace, open_repository

if TYPE_CHECKING:
    from keepsake.recording.output import Output

_GRACE_SECONDS = 0.05  # background threads wait this long, so they do not slow init() down
_FREEZE_TRIES = 3
_VALUE_WIDTH = 20

_lock = threading.RLock()  # makes steps consecutive even if several threads checkpoint


class Run:
    """An experiment that this process adds to.

    Args:
        workplace: its project.
        entry: its first entry in the spool.
        modules: the modules that were imported when it began.
        quiet: whether its end prints nothing unless there is a problem.

    Attributes:
        found: what was found out about its machine, as in its record; empty until then.
        ending: the time and reason of its end, as in its record; empty until then.
        output: what it prints; None if that is not kept.
    """

    def __init__(
        self, workplace: Workplace, entry: Entry, modules: list[str] | None = None, quiet: bool = True
    ) -> None:
        self._workplace = workplace
        self._place = Place(entry, workplace.directory)
        self.repository = workplace.repository
        self.found: Record = {}
        self.ending: Record = {}
        self.output: Output | None = None
        self.complaints = Complaints()
        self._freezer = Freezer(self._place, workplace.directory, self.complaints)
        self._modules = modules
        self._quiet = quiet
        self._packages: dict[str, str] | None = None
        self._checkpoints: list[Record] = []  # made by this process
        self._earlier: list[Record] = []  # made before this process went on with it
        # Those of each step, with files and without, unless it was recorded again
        self._replaceable: dict[tuple[int | None, bool], set[str]] = {}
        self._attempt = 0  # the number of times that a process went on with it

    @property
    def entry(self) -> Entry:
        """Its present entry in the spool. It is another one after its disk has refused to take more."""
        return self._place.entry

    # The beginning

    @classmethod
    def begin(
        cls, workplace: Workplace, record: Record, modules: list[str], *, disable_heartbeat: bool, quiet: bool
    ) -> Run:
        """Record a new experiment. If that fails, it leaves nothing behind."""
        repository, roots = workplace.repository, places.note_roots(workplace.directory)
        is_offline = switches.is_offline()  # then nothing is created there now, and very many runs may be waiting
        before = places.known_identity(roots[0], repository.url, at_once=is_offline)
        is_first = before is None
        for root in roots[1:] if is_first else ():
            before = places.known_identity(root, repository.url, at_once=True)
        entry = Entry.new(roots[0], record, repository.url, before)
        entry.is_first = is_first
        run = cls(workplace, entry, modules, quiet)
        frozen, others_wait = None, False
        try:
            if record["path"]:
                run._place.open()
                frozen = run._freezer.freeze(run.entry, record)
            others_wait = run._publish(before, roots, beat=not disable_heartbeat)
        except BaseException:
            with suppress(KeepsakeError):  # the first error matters more
                if entry.in_repository:
                    repository.withdraw(record)
            with suppress(KeepsakeError):
                entry.discard()
            raise
        ending.begin(run)
        saver().beat(entry, repository, visible=not (disable_heartbeat or is_offline))
        run._keep_output(record)
        if frozen is not None:
            from keepsake.recording.amount import tell_if_large

            recent = lambda: workplace.view.recent_paths(look=not is_offline)  # noqa: E731
            tell_if_large(workplace.directory, record["path"], frozen.entries, recent)
        run._gather_later(files=bool(record["path"]), is_recovering=others_wait)
        if others_wait:
            ending.recover_in_background(entry, workplace.spools, open_repository)
        return run

    def _publish(self, before: str | None, roots: list[Path], *, beat: bool) -> bool:
        """Write a new experiment into the spool, and publish it unless the run is offline (see `publish_first`).

        Returns whether earlier runs may wait in the spool to be sent.
        """
        entry, others_wait = self.entry, False

        def get_ready() -> None:
            nonlocal others_wait
            self._place.open()
            entry.keep_room()
            ending.watch()
            others_wait = ending.others_wait(entry, roots)  # further spools are looked at in the background

        if switches.is_offline():
            get_ready()
            return False
        publish_first(self.repository, entry, before, roots, beat=beat, meanwhile=get_ready)
        if not beat:  # otherwise a listing would see the entry in the spool, and show it as running
            entry.write_record(durable=False)
        return others_wait

    @classmethod
    def resume(
        cls, workplace: Workplace, record: Record, fields: Record, *, disable_heartbeat: bool, quiet: bool
    ) -> Run:
        """Go on with an experiment in place of its process, which has ended; `fields` of its record change."""
        repository = workplace.repository
        run = cls(workplace, begun_entry(workplace, record), quiet=quiet)
        run.entry.finish_logs()
        run._place.keep(Entry.begin)
        entry = run.entry
        try:
            if not switches.is_offline():
                go_on(repository, entry, beat=not disable_heartbeat)
            run._follow({**record, **fields})
            run.change(fields)
            run._place.beginning = run._line(fields)
            entry = run.entry
            if "keep" in fields:
                entry.record["keep"] = fields["keep"]
                entry.write_record(durable=False)
        except BaseException:
            entry.rest()
            raise
        ending.begin(run)
        saver().beat(entry, repository, visible=not (disable_heartbeat or switches.is_offline()))
        run._keep_output(fields)
        saver().notify(entry, repository, files=bool(entry.packs()), offline=switches.is_offline())
        if not switches.is_offline() and ending.others_wait(entry, workplace.spools):
            ending.recover_in_background(entry, workplace.spools, open_repository)
        return run

    @classmethod
    def join(cls, workplace: Workplace, record: Record) -> Run:
        """Continue an experiment that is in the repository, or that another process has begun."""
        ending.watch()
        run = cls(workplace, begun_entry(workplace, record))
        run._place.keep(Entry.begin)
        run._follow(record)
        saver().beat(run.entry, run.repository, visible=False)
        return run

    def _follow(self, record: Record) -> None:
        self._earlier, self._attempt = checkpoints_of(record), attempts(record)
        for checkpoint in self._earlier:
            if attempt_of(checkpoint) < self._attempt:
                kind = checkpoint.get("step"), bool(checkpoint.get("path"))
                self._replaceable.setdefault(kind, set()).add(checkpoint["id"])

    def replaced_by(self, record: Record) -> set[str]:
        """Return the IDs of the checkpoints that a new one replaces (see `superseded`): those of earlier processes."""
        replaced = self._replaceable.pop((record["step"], False), set())
        return replaced | self._replaceable.pop((record["step"], True), set()) if record["path"] else replaced

    def packages(self) -> dict[str, str] | None:
        """Return name → version of the packages imported when it began; None if another process began it."""
        if self._packages is None and self._modules is not None:
            with importing:
                prepare()
            # No lock here, because forks wait for it, and a network disk with many packages takes seconds.
            self._packages = get_imported_packages(self._modules)
        return self._packages

    def _gather_later(self, *, files: bool, is_recovering: bool) -> None:
        """Collect package versions in the background, so init() does not wait for them.

        Runs that wait in any spool are recovered from there, unless a recovery has begun.
        """
        repository, workplace = self.repository, self._workplace

        def gather() -> None:
            entry = self.entry
            places.remember_repository(entry)
            if entry.identity:  # the next run may have another spool
                for root in places.note_roots(workplace.directory)[1:]:
                    places.remember_identity(root, entry.repository, entry.identity)
            self._place.keep(lambda entry: entry.write_record(durable=False))
            packages = self.packages()
            with importing:
                # Imported here so that the first checkpoint() does not wait for them, and so that the run does not need
                # its environment later: it may be upgraded, removed or unmounted while a long run goes on.
                import difflib  # noqa: F401
                import opcode  # noqa: F401

                from keepsake.archive import reader, writer  # noqa: F401
                from keepsake.recording import machine
            self.change({"python_packages": packages})
            self.found = {"environment": machine.environment(self._workplace.directory, quick=False)}
            self.change(self.found)
            saver().notify(self.entry, repository, files=True)
            if not is_recovering and ending.others_wait(self.entry, workplace.spools):
                ending.recover_in_background(self.entry, workplace.spools, open_repository)

        if switches.is_offline():
            from keepsake.recording import machine

            self.found = {"environment": machine.environment(self._workplace.directory, quick=True)}
            self.change({"python_packages": self.packages(), **self.found})
            saver().notify(self.entry, repository, offline=True)
        else:
            saver().notify(self.entry, repository, files=files, task=gather, local=True, after=_GRACE_SECONDS)

    def change(self, fields: Record) -> None:
        """Change fields of the record, in the spool."""
        line = self._line(fields)
        self._place.keep(lambda entry: entry.append(line))

    def _line(self, fields: Record) -> dict[str, Any]:
        return {"experiment": fields, "restart": self._attempt}

    def edit(self, edit: Edit) -> None:
        """Change the name, tags, notes or params. The background sends that to the repository."""
        self._place.keep(lambda entry: entry.append({"labels": edit}))
        self._announce()

    def _keep_output(self, fields: Record) -> None:
        if parts := parts_of(fields):
            from keepsake.recording.output import Output

            self.output = Output(self.entry, self.repository, max(parts))

    # Checkpoints

    def add(
        self, record: Record, problems: list[Problem], next_step: Callable[[], int], keep: Callable[[], None]
    ) -> None:
        """Save a new checkpoint on this machine. The background sends it to the repository.

        Args:
            record: of the checkpoint. Its step is filled in if it has none, and its path is emptied if its files cannot
                be saved.
            problems: the known problems with it.
            next_step: returns its step if it has none.
            keep: called when it is saved, before another checkpoint asks for its step.

        Raises ValidationError if nothing is left to save.
        """
        frozen = self._freezer.freeze_if_possible(record, problems) if record["path"] else None
        try:
            slips = [problem for problem in problems if problem.what]
            if slips and not (record["metrics"] or record["path"] or record["step"] is not None):
                raise ValidationError(slips[0].why)
            record["path"] = record["path"] if frozen else ""
            with _lock:
                if record["step"] is None:
                    record["step"] = next_step()
                if self._attempt:
                    record["restart"] = self._attempt
                self._place.keep(lambda entry: entry.append({"checkpoint": record}))
                self._checkpoints.append(record)
                keep()
        except KeepsakeError as error:
            signals.let_through(error)  # the line may be written, and the mover looks at that
            if frozen is not None:
                with suppress(OSError):
                    remove(frozen)
            raise
        self._announce(files=frozen is not None)
        for problem in problems:
            self.complaints.add(problem, record["id"])

    def _announce(self, *, files: bool = False) -> None:
        """Let the background send what was just recorded."""
        saver().notify(self.entry, self.repository, files=files, offline=switches.is_offline())
        ending.save_if_over()

    # The end

    def stop(self) -> KeepsakeError | None:
        """End the experiment, wait until everything is saved, and return any error."""
        return ending.end(self, "stopped")

    def say_end(self, *, is_saved: bool) -> None:
        """Report once how many checkpoints were saved, and where, unless another message reports unsaved parts."""
        if self.entry.gone:
            return
        name, count = f"Experiment {short_id(self.entry.id)}", len(self._checkpoints)
        if left_out := self.complaints.summary():
            warn(f"Left out of the checkpoints of experiment {short_id(self.entry.id)}: {left_out}.")
        checkpoints = plural(count, "checkpoint") if count else "no checkpoints"
        if not self._quiet and switches.is_offline():
            say(f"{name}: {checkpoints} kept in {self.entry.directory.parent}. `keepsake sync` sends it.")
        elif not self._quiet and is_saved and count:
            best = about_best([*self._earlier, *self._checkpoints])
            say(f"{name}: {checkpoints} saved to {self.repository.url}.{best}")
        self._quiet = True
        self.complaints.clear()


@in_forked_child
def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
