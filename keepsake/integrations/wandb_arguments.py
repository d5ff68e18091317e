"""The arguments of `wandb.init()`, and the variables that stand in for them, translated for `keepsake.init()`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from keepsake.exceptions import KeepsakeError
from keepsake.project import default_project
from keepsake.util.values import mapping_of


def facts_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments, with environment variables in place of missing ones."""
    variables = {"group": "RUN_GROUP", "id": "RUN_ID"}
    facts = {
        name: value if value is not None else os.environ.get(f"WANDB_{variables.get(name, name.upper())}") or None
        for name, value in given.items()
    }
    if isinstance(facts["tags"], str):
        facts["tags"] = facts["tags"].split(",")
    if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1"):
        facts["mode"] = "disabled"
    return facts


def tags_of(facts: Mapping[str, Any]) -> list[str]:
    named = [f"{name}={facts[name]}" for name in ("project", "group", "job_type", "id", "sweep") if facts[name]]
    return [*(str(tag) for tag in facts["tags"] or ()), *(tag.replace(",", "_")[:100] for tag in named)]


def config_of(config: object, without: set[str], only: Iterable[str] | None) -> dict[str, Any]:
    """Return the hyperparameters as a dict."""
    if isinstance(config, (str, Path)):
        config = _config_file(Path(config))
    values = {} if config is None else {str(name): value for name, value in mapping_of(config, "config").items()}
    kept = set(values) if only is None else set(only)
    return {name: value for name, value in values.items() if name in kept - without}


def merged(config: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with what a sweep has chosen in it. Of nested values, the others stay."""
    result = dict(config)
    for name, value in chosen.items():
        before = result.get(name)
        is_nested = isinstance(before, Mapping) and isinstance(value, Mapping)
        result[name] = merged(before, value) if is_nested else value  # type: ignore[arg-type]
    return result


def _config_file(path: Path) -> dict[str, Any]:
    """Return the names and values in a YAML file. A value may be written as `lr: {value: 0.1}`."""
    import yaml

    try:
        content = mapping_of(yaml.safe_load(path.read_text("utf-8")) or {}, str(path))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise KeepsakeError(
            f"The config {path} cannot be read: {error}. Give a YAML file of names and values."
        ) from error
    return {
        str(name): value["value"] if isinstance(value, dict) and "value" in value else value
        for name, value in content.items()
        if name != "wandb_version"
    }


def earlier_run(run_id: str | None, resume: bool | str | None) -> str | None:
    """Return the run to go on with, as `keepsake.init(resume=…)` takes it; None for a new one."""
    if run_id is None:
        return "auto" if resume in (True, "auto", "True", "true") else None
    if resume in (None, False):
        return None
    tag = f"id={run_id}".replace(",", "_")[:100]
    try:
        found = default_project.experiments.list(lambda each: tag in each.tags or each.id == run_id)
    except KeepsakeError:  # nothing is recorded yet
        found = []  # type: ignore[assignment]
    if resume == "must" and not found:
        raise KeepsakeError(f"There is no run with the ID {run_id!r} to go on with. Give resume='allow' to begin it.")
    if resume == "never" and found:
        raise KeepsakeError(f"There is a run with the ID {run_id!r}. Give another ID, or resume='allow'.")
    return found[-1].id if found else None
