"""Reads study files; what they share with experiment files is in :mod:`tutor_sim.drafts`.

Each of ``populations`` is a text (a population that ships, or the path of a population file), or a
mapping whose ``population`` is what an experiment's may be, with a ``variant`` or a ``task`` of its
own beside it. A case with known values brings its own task along.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tutor_envs.cases import Case
from tutor_envs.yaml_loading import load_yaml
from tutor_sim.config_errors import explain, origin
from tutor_sim.drafts import Draft, Override, check_mapping, parse_override, values_hold
from tutor_sim.study.config import Study


def load_study(path: Path, *, overrides: Sequence[str] = (), short: bool = False) -> Study:
    """A study file, resolved and validated.

    Args:
        path: the file.
        overrides: ``a.b=value`` each.
        short: apply what the study says under ``short:`` (before ``overrides``).

    Raises:
        ValueError: the file is not a valid study; one line for each fault.
        OSError: a file cannot be read.
    """
    document = load_yaml(path)
    check_mapping(document.data, str(path), "a study")
    if document.data.get("kind") != "study":
        where = origin(document, ("kind",))
        raise ValueError(
            f"{where}: a study begins with `kind: study`; an experiment is for `tutor-sim compare`"
        )
    draft = Draft(document, path.parent)
    changes = [parse_override(text) for text in overrides]
    if short:
        changes = [*draft.short_form(), *changes]
    draft.resolve_plug_ins()
    references = [change for change in changes if _is_reference(change)]
    draft.apply(references)
    cases = _resolve_populations(draft, references)
    draft.apply(change for change in changes if change not in references)
    try:
        study = Study.model_validate(draft.document.data)
    except ValidationError as error:
        raise ValueError(explain(error, draft.document, Study)) from error
    return _without_outdated_values(study, cases)


def _is_reference(change: Override) -> bool:
    """It says which population, not something about it."""
    first, *rest = change.path
    return first == "populations" and (len(rest) < 2 or rest[1:] == ["population"])


def _resolve_populations(draft: Draft, changes: Sequence[Override]) -> dict[str, Case]:
    """Replace paths and cases by what they stand for; name -> case."""
    document = draft.document
    populations: Any = document.data.get("populations")
    if not isinstance(populations, dict):
        return {}
    cases = {}
    for name, value in populations.items():
        at = ("populations", name)
        if isinstance(value, str):
            populations[name] = {"population": value}
            document.origins[(*at, "population")] = origin(document, at)
        elif not isinstance(value, dict):
            continue
        is_typed = any(change.is_typed and change.path[:2] in (at, at[:1]) for change in changes)
        case = draft.resolve_population(at, Path() if is_typed else draft.folder)
        if case is not None:
            cases[name] = case
    return cases


def _without_outdated_values(study: Study, cases: dict[str, Case]) -> Study:
    """Drop a case's exact values if a task, a variant or overrides made another case of it."""
    changed = {}
    for name, case in cases.items():
        own = study.populations[name]
        if not values_hold(case, own.taught, own.task or study.task):
            changed[name] = own.model_copy(update={"reference_values": {}})
    return study.model_copy(update={"populations": study.populations | changed})
