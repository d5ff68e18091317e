"""What people write on an experiment: its name, tags and notes. They are checked here, and edited in its record.

An edit is a dict that says what to change, not what the result is, so that two people can edit one experiment at once:
`name` and `notes` (new texts, "" to remove one), `add` and `remove` (tags), `params` (name → value), `edited` (when). A
record knows when each of them was edited, because edits from a spool may arrive late, or twice, and because several
copies of an experiment may be edited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from keepsake.exceptions import ValidationError
from keepsake.metadata import Record, is_own_time, later, time_text, valid_id
from keepsake.util.values import encode, escape_controls

Edit = dict[str, Any]

EDITED = ("name", "tags", "notes", "edited", "edits")  # fields of a record
_TEXTS = ("name", "notes")
_TAG, _PARAM = "tag:", "param:"  # in `edits`, the beginnings of the keys of tags and params
_NAME_LENGTH, _TAG_LENGTH, _NOTES_LENGTH = 200, 100, 100_000  # characters


def make_edit(
    name: object = None, notes: object = None, add: object = None, remove: object = None
) -> tuple[Edit, list[str]]:
    """Return the edit that makes these changes (None: no change), and the problems with what it has to leave out."""
    edit: Edit = {}
    problems: list[str] = []

    def check(key: str, make: Callable[[Any], Any], value: object) -> None:
        try:
            edit[key] = make(value)
        except ValidationError as error:
            problems.append(str(error))

    if name is not None:
        check("name", _name, name)
    if notes is not None:
        check("notes", _notes, notes)
    for key, tags in (("add", add), ("remove", remove)):
        for number, tag in enumerate(_listed(tags)):
            check(f"{key}{number}", _tag, tag)
        if found := [edit.pop(place) for place in list(edit) if place.startswith(key)]:
            edit[key] = list(dict.fromkeys(found))
    return (edit | {"edited": time_text()} if edit else edit), problems


def checked_edit(edit: object) -> Edit:
    """Return an edit that a spool holds. Raises ValueError if `make_edit` would not make it."""
    if not isinstance(edit, dict):
        raise ValueError("it is no edit")
    texts = [edit.get(name, "") for name in ("name", "notes", "edited")]
    tags = [edit.get(name, []) for name in ("add", "remove")]
    if not all(isinstance(each, list) for each in tags):
        raise ValueError("its tags are no lists")
    if not all(isinstance(text, str) for text in (*texts, *tags[0], *tags[1])):
        raise ValueError("it has values that are not texts")
    if not isinstance(edit.get("params", {}), dict):
        raise ValueError("its params are no mapping")
    return edit


def following(edit: Edit, record: Record) -> Edit:
    """Return an edit of a record as somebody sees it now: it counts, even if a clock was set back."""
    times = [str(at) for at in (record.get("edited"), *_edit_times(record).values()) if is_own_time(at)]
    return {**edit, "edited": later(edit["edited"], max(times))} if times else edit


def apply_edits(record: Record, edits: Iterable[Edit]) -> Record:
    """Return a record with the edits applied, in any order: each leaves alone what was edited after it."""
    record = dict(record)
    times = _edit_times(record)
    tags = labels_of(record).get("tags", [])
    for edit in edits:
        at = edit.get("edited") or ""
        changes: dict[str, Any] = {name: edit[name] for name in _TEXTS if name in edit}
        changes |= {_TAG + tag: False for tag in edit.get("remove", ())}
        changes |= {_TAG + tag: True for tag in edit.get("add", ())}
        changes |= {_PARAM + name: value for name, value in edit.get("params", {}).items()}
        for key, value in changes.items():
            if at < times.get(key, ""):
                continue
            times |= {key: at} if at else {}
            if key in _TEXTS:
                record[key] = value
            elif key.startswith(_PARAM):
                record["params"] = {**(record.get("params") or {}), key.removeprefix(_PARAM): value}
            else:
                tag = key.removeprefix(_TAG)
                if value and tag not in tags:  # before those that were added later, so copies have the same order
                    after = [place for place, each in enumerate(tags) if times.get(_TAG + each, "") > at]
                    place = min(after, default=len(tags))
                    tags = [*tags[:place], tag, *tags[place:]]
                elif not value:
                    tags = [each for each in tags if each != tag]
        edited = record.get("edited")
        record["edited"] = max(at, str(edited)) if is_own_time(edited) else at
    record |= {"tags": tags, "edits": times}
    return {name: value for name, value in record.items() if value or name not in EDITED}


def _edit_times(record: Record) -> dict[str, str]:
    """Return when each was last edited: "name", "notes", "tag:…" or "param:…" → time. Damage is left out."""
    times = record.get("edits")
    return {key: at for key, at in times.items() if is_own_time(at)} if isinstance(times, dict) else {}


def labels_of(record: Record) -> Record:
    """Return an experiment's `name`, `tags`, `notes` and `parent`, those that it has. Damaged ones are left out."""
    found = {name: record[name] for name in ("name", "notes") if record.get(name) and isinstance(record[name], str)}
    tags = record.get("tags")
    if tags and isinstance(tags, list):
        found["tags"] = [tag for tag in tags if isinstance(tag, str)]
    if valid_id(record.get("parent")):
        found["parent"] = record["parent"]
    return found


def edited_fields(record: Record) -> Record:
    """Return what edits have made of a record, and when."""
    return {name: record.get(name) for name in (*EDITED, "params")}


def edits_of(record: Record) -> list[Edit]:
    """Return the edits that made a record what it is, oldest first, to make them in a copy of it too.

    A label that is damaged here was not removed.
    """
    labels, params = labels_of(record), record.get("params") or {}
    damaged = {name for name in ("name", "notes", "tags") if record.get(name) and name not in labels}
    found: list[Edit] = []
    for key, at in sorted(_edit_times(record).items(), key=lambda item: item[1]):
        tag, param = key.removeprefix(_TAG), key.removeprefix(_PARAM)
        if ("tags" if tag != key else key) in damaged:
            continue
        if key in _TEXTS:
            found.append({key: labels.get(key, ""), "edited": at})
        elif tag != key:
            found.append({"add" if tag in labels.get("tags", ()) else "remove": [tag], "edited": at})
        elif param in params:
            found.append({"params": {param: params[param]}, "edited": at})
    return found


def missing_labels(record: Record, copy: Record) -> Record:
    """Return the labels of a record that a copy of it lacks, and that nobody has removed there."""
    edited = {key.partition(":")[0] for key in _edit_times(copy)}
    is_kept = labels_of(copy).keys() | ({"tags"} if "tag" in edited else set()) | edited
    return {name: value for name, value in labels_of(record).items() if name not in is_kept}


def _listed(tags: object) -> list[object]:
    if tags is None:
        return []
    if isinstance(tags, (str, bytes)) or not isinstance(tags, Iterable):
        return [tags]
    return [each for tag in tags for each in (tag if isinstance(tag, (list, tuple, set)) else [tag])]


def _name(value: object) -> str:
    return _line(value, "name", _NAME_LENGTH)


def _tag(value: object) -> str:
    text = _line(value, "tag", _TAG_LENGTH)
    if not text:
        raise ValidationError("A tag is empty. Give it at least one character.")
    if "," in text:
        raise ValidationError(f"The tag {text!r} contains a comma. Give several tags one by one.")
    if text[0] in "+-":
        raise ValidationError(f"The tag {text!r} begins with {text[0]!r}. Begin it with another character.")
    return text


def _notes(value: object) -> str:
    return _text(value, "notes", _NOTES_LENGTH).strip()


def _line(value: object, what: str, length: int) -> str:
    text = _text(value, what, length).strip()
    if escape_controls(text) != text or "\n" in text:
        raise ValidationError(f"The {what} {text!r:.60} contains a line break or a control character. Remove that.")
    return text


def _text(value: object, what: str, length: int) -> str:
    if not isinstance(value, str):
        raise ValidationError(
            f"The {what} cannot be {value!r:.60}, which is of type {type(value).__name__}. Give a string."
        )
    if len(value) > length:
        raise ValidationError(f"The {what} {value[:40]!r}… is longer than {length:,} characters. Shorten it.")
    return str(encode(value, what))
