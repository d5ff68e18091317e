"""Experiments and checkpoints as HTML for notebooks.

The HTML has no scripts and no external resources, and uses the notebook's own colours. All recorded text is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING, Any

from keepsake.compare.runs import GROUPS
from keepsake.compare.values import NOT_SET
from keepsake.exceptions import KeepsakeError
from keepsake.listing.fields import differing_names
from keepsake.listing.subjects import flatten
from keepsake.status import statuses
from keepsake.util.values import cut, escape_controls, full_text, short_text

if TYPE_CHECKING:
    from keepsake.checkpoint import Checkpoint, CheckpointList
    from keepsake.compare.files import FileComparison
    from keepsake.experiment import Experiment

_MAX_ROWS, _EDGE_ROWS = 60, 20  # longer tables show only the first and last few rows
_MAX_COLUMNS = 12  # for params, and as many for metrics
_NAME, _SHORT, _TOOLTIP, _LONG = 60, 24, 300, 2000  # characters: names, values in lists, their tooltips, other values
_PATCH = 50_000  # characters of a file's lines
_BEST = " ★ best"
_STYLE = """<style>
.keepsake { overflow-x: auto } .keepsake p { margin: 0.6em 0 0.2em }
.keepsake table { border-collapse: collapse; color: inherit; font-size: inherit; margin: 0 0 0.6em; table-layout: auto }
.keepsake tr { border: none; border-top: 1px solid #8884; font-variant-numeric: tabular-nums }
.keepsake th, .keepsake td { border: none; padding: 0.2em 0.6em; text-align: left !important; vertical-align: top }
.keepsake td { max-width: 50em; overflow-wrap: break-word; white-space: pre-wrap }
.keepsake th, .keepsake .list td { white-space: nowrap }
.keepsake thead tr { border: none } .keepsake .best td { font-weight: 600 }
.keepsake tbody th, .keepsake .group, .keepsake .more { font-weight: normal; opacity: 0.65 }
.keepsake .running::before, .keepsake .stopped::before { color: #888; content: "● " }
.keepsake .failed::before, .keepsake .lost::before { color: #c2410c; content: "● " }
.keepsake .running::before { color: #2a9d4e } .keepsake .lost::before { color: #d9822b }
</style>"""


def checkpoint_html(checkpoint: Checkpoint) -> str:
    """Return a checkpoint as HTML: its fields and metrics."""
    experiment, primary = checkpoint.experiment, checkpoint.primary_metric
    best = experiment.checkpoints.best() if experiment else None
    facts = {
        "Created": _time(checkpoint),
        "Step": str(checkpoint.step or 0),
        "Path": checkpoint.path,
        "Experiment": experiment.id if experiment else None,
        "Primary metric": f"{primary['name']} ({primary.get('goal')})" if primary else None,
    }
    title = f"Checkpoint {checkpoint.id}{_BEST if best and best.id == checkpoint.id else ''}"
    return _page(_title(title), _facts(facts), _title("Metrics"), _fields(flatten(checkpoint.metrics or {})))


def experiment_html(experiment: Experiment) -> str:
    """Return an experiment as HTML: its fields, params, Python packages and checkpoints."""
    duration, reason, packages = experiment.duration, experiment.end_reason, experiment.python_packages
    status = "unknown"
    with suppress(KeepsakeError):  # the other fields are shown even if the repository cannot be read
        status = experiment.status
    facts = {
        "Created": _time(experiment),
        "Status": f"{status} ({reason})" if reason else status,
        "Error": experiment.error,
        "Duration": str(timedelta(seconds=round(duration.total_seconds()))) if duration is not None else None,
        "Host": experiment.host,
        "User": experiment.user,
        "Command": experiment.command,
        "Path": experiment.path,
        "Python": experiment.python_version,
    }
    parts = [
        _title(f"Experiment {experiment.id}"),
        _facts(facts),
        _title("Params"),
        _fields(flatten(experiment.params or {})),
    ]
    if packages:
        parts.append(f"<details><summary>Python packages: {len(packages)}</summary>{_fields(packages)}</details>")
    return _page(*parts, *_checkpoints(experiment.checkpoints))


def checkpoints_html(checkpoints: CheckpointList) -> str:
    """Return checkpoints as an HTML table."""
    return _page(*_checkpoints(checkpoints))


def _checkpoints(checkpoints: CheckpointList) -> list[str]:
    """Return the title and table of checkpoints. The best one is always shown, and marked."""
    primary, best = checkpoints.primary_metric(), checkpoints.best()
    names = {name for checkpoint in checkpoints for name in flatten(checkpoint.metrics or {})}
    metrics = sorted(names, key=lambda name: (name != primary, name))[:_MAX_COLUMNS]

    def row(checkpoint: Checkpoint) -> str:
        note, kind = (_BEST, "best") if checkpoint is best else ("", "")
        texts = (checkpoint.short_id() + note, str(checkpoint.step or 0), _time(checkpoint))
        return _row([*map(_cell, texts), *_values(checkpoint.metrics, metrics)], kind)

    keep = next((index for index, checkpoint in enumerate(checkpoints) if checkpoint is best), 0)
    title = _title(f"Checkpoints: {len(checkpoints):,}", len(names), "metrics")
    return [title, _list({"": ["ID", "Step", "Created", *metrics]}, _body(checkpoints, row, keep))]


def experiments_html(experiments: Sequence[Experiment]) -> str:
    """Return experiments as an HTML table: status, params that differ, best and latest checkpoints."""
    shown = [experiments[index] for index in _shown(len(experiments))]
    found = statuses(shown)
    chosen = {id(e): [e.checkpoints.best(), e.checkpoints.latest()] for e in shown}
    start = 0 if any(best for best, _ in chosen.values()) else 1  # the column for the best may be empty, so left out
    people = [name for name in ("host", "user") if len({getattr(e, name) for e in experiments}) > 1]
    names = differing_names(flatten(experiment.params or {}) for experiment in experiments)
    differing = sorted(name for name, differs in names.items() if differs or len(experiments) == 1)
    params = differing[:_MAX_COLUMNS]
    checkpoints = [checkpoint for best, latest in chosen.values() if (checkpoint := best or latest)]
    primary = {checkpoint.primary_metric["name"] for checkpoint in checkpoints if checkpoint.primary_metric}
    metrics = sorted(primary or {name for c in checkpoints for name in flatten(c.metrics or {})})[:_MAX_COLUMNS]

    def row(experiment: Experiment) -> str:
        status = found.get(experiment.id, "unknown")
        cells = [*map(_cell, (experiment.short_id(), _time(experiment))), _cell(status, status)]
        cells += [*(_cell(getattr(experiment, name) or "") for name in people), *_values(experiment.params, params)]
        for checkpoint in chosen[id(experiment)][start:]:
            texts = (checkpoint.short_id(), str(checkpoint.step or 0)) if checkpoint else ("", "")
            cells += [*map(_cell, texts), *_values(checkpoint.metrics if checkpoint else None, metrics)]
        return _row(cells)

    groups = {"": ["Experiment", "Started", "Status", *map(str.title, people)], "Params": params}
    groups |= {name: ["ID", "Step", *metrics] for name in ("Best checkpoint", "Latest checkpoint")[start:]}
    title = _title(f"Experiments: {len(experiments):,}", len(differing), "params that differ")
    return _page(title, _list(groups, _body(experiments, row)))


def comparison_html(
    sides: Sequence[tuple[Experiment, Checkpoint | None]],
    groups: Mapping[str, Mapping[str, tuple[Any, ...]]],
    files: FileComparison | None = None,
) -> str:
    """Return what differs between runs as HTML: a row for each name, a column for each run, and the files of two."""
    rows = [_row([_cell("Checkpoint", tag="th"), *(_cell(c.short_id() if c else "") for _, c in sides)])]
    for group, found in groups.items():
        rows += [f'<tr><td class="more">{GROUPS[group]}</td></tr>'] if found else []
        rows += [_row([_cell(name, tag="th"), *map(_value, values)]) for name, values in found.items()]
    table = _list({"": ["", *(experiment.short_id() for experiment, _ in sides)]}, "".join(rows))
    return _page(_title("Differences"), table, *(_files(files) if files is not None else ()))


def _value(value: Any) -> str:
    return _cell("(not set)", "more") if value is NOT_SET else _cell(short_text(value, _NAME), tooltip=full_text(value))


def _files(files: FileComparison) -> Iterator[str]:
    """Yield the title of the files that differ, and each of them with its lines to unfold."""
    yield _title(f"Files: {files.summary() or 'no difference'}")
    for each in files.differences[:_MAX_ROWS]:
        about = f"+{each.lines[0]} -{each.lines[1]}" if each.lines else each.note
        head = f"{_text(each.path, _TOOLTIP)} <span class='more'>{each.kind} {_text(about, _TOOLTIP)}</span>"
        text = escape(cut(escape_controls(each.text.expandtabs(4), keep_newlines=True), _PATCH))
        yield f"<details><summary>{head}</summary><pre>{text}</pre></details>" if text else f"<p>{head}</p>"
    if len(files.differences) > _MAX_ROWS:
        yield f'<p class="more">… {len(files.differences) - _MAX_ROWS:,} more …</p>'


def _shown(count: int, keep: int = 0) -> Iterable[int]:
    """Return which of `count` rows to show, always including the one at `keep`."""
    edges = {*range(_EDGE_ROWS), keep, *range(count - _EDGE_ROWS, count)}
    return range(count) if count <= _MAX_ROWS else sorted(edges)


def _body(items: Sequence[Any], row: Callable[[Any], str], keep: int = 0) -> str:
    """Return the rows of the items to show. One row with a number stands for the omitted ones."""
    rows, following = [], 0
    for index in _shown(len(items), keep):
        if index > following:
            rows.append(f'<tr><td class="more">… {index - following:,} more …</td></tr>')
        rows.append(row(items[index]))
        following = index + 1
    return "".join(rows)


def _facts(facts: Mapping[str, str | None]) -> str:
    return _fields({name: text for name, text in facts.items() if text})


def _fields(values: Mapping[str, Any] | None) -> str:
    """Return a table with a line for each name and value."""
    items = list((values or {}).items())
    body = _body(items, lambda item: _row([_cell(item[0], tag="th"), _cell(full_text(item[1]))]))
    return f"<table><tbody>{body}</tbody></table>" if body else '<p class="more">(none)</p>'


def _list(groups: Mapping[str, list[str]], body: str) -> str:
    """Return a table with titles for its columns and for groups of columns."""
    above = (f'<th class="group" colspan="{len(titles)}">{name}</th>' for name, titles in groups.items() if titles)
    titles = (_cell(title, tag="th") for titles in groups.values() for title in titles)
    head = (_row(above) if len(groups) > 1 else "") + _row(titles)
    return f'<table class="list"><thead>{head}</thead><tbody>{body}</tbody></table>' if body else ""


def _values(values: Mapping[str, Any] | None, names: Iterable[str]) -> Iterator[str]:
    """Yield a cell for each name, with dots into dicts: the short value, and the full value as a tooltip."""
    known = flatten(values or {})
    for name in names:
        text, whole = (short_text(known[name], _SHORT), full_text(known[name])) if name in known else ("", "")
        yield _cell(text, tooltip="" if text == whole else whole)


def _row(cells: Iterable[str], kind: str = "") -> str:
    return f'<tr class="{kind}">{"".join(cells)}</tr>'


def _cell(text: str, kind: str = "", *, tooltip: str = "", tag: str = "td") -> str:
    title, shown = _text(tooltip, _TOOLTIP), _text(text, _LONG if tag == "td" else _NAME)
    return f'<{tag} class="{kind}" title="{title}">{shown}</{tag}>'


def _text(text: str, width: int) -> str:
    return escape(cut(escape_controls(text, keep_newlines=True), width))


def _time(recorded: Experiment | Checkpoint) -> str:
    return recorded.created.isoformat(" ", "seconds")


def _title(text: str, count: int = 0, noun: str = "") -> str:
    more = f" ({count - _MAX_COLUMNS:,} more {noun} not shown)" if count > _MAX_COLUMNS else ""
    return f'<p><b>{_text(text, _LONG)}</b><span class="more">{more}</span></p>'


def _page(*parts: str) -> str:
    # The classes keep MathJax from reading text between dollar signs as formulas.
    return f'{_STYLE}<div class="keepsake tex2jax_ignore mathjax_ignore">{"".join(parts)}</div>'
