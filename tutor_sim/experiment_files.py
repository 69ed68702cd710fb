"""Reads experiment files; what they share with study files is in :mod:`tutor_sim.drafts`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from tutor_envs.errors import unknown_name
from tutor_envs.population import Population
from tutor_envs.student_registry import resolve_student
from tutor_envs.yaml_loading import Document, load_yaml
from tutor_sim.config import Experiment
from tutor_sim.config_errors import explain
from tutor_sim.drafts import Draft, Override, check_mapping, parse_override, values_hold


def load_experiments(
    path: str | Path,
    *,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    short: bool = False,
) -> list[Experiment]:
    """All experiments of a file, resolved and validated.

    Args:
        path: the file: one experiment, or several under ``experiments:``.
        overrides: ``a.b=value`` each, applied to every experiment of the file.
        seed: replaces the seed of training, and the only one if the file has several.
        short: apply what each experiment says under ``short:`` (before ``overrides``).

    Raises:
        ValueError: the file is not a valid experiment; one line for each fault.
        OSError: a file cannot be read.
    """
    path = Path(path)
    changes = [parse_override(text) for text in overrides]
    if seed is not None:
        changes += [Override(("seed",), seed, "--seed"), Override(("seeds",), [], "--seed")]
    documents = _split(load_yaml(path), path)
    experiments = [_finish(Draft(document, path.parent), changes, short) for document in documents]
    names = [experiment.name for experiment in experiments]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path}: `experiments` must have different names, got `{name}` twice")
    return experiments


def load_experiment(
    path: str | Path, *, overrides: Sequence[str] = (), seed: int | None = None
) -> Experiment:
    """The only experiment of a file; see :func:`load_experiments`."""
    experiments = load_experiments(path, overrides=overrides, seed=seed)
    if len(experiments) != 1:
        raise ValueError(
            f"{path}: holds {len(experiments)} experiments, and one is needed here; "
            "`tutor-sim compare` runs them all"
        )
    return experiments[0]


def load_population(path: str | Path) -> Population:
    """A population file.

    Raises:
        ValueError: the file is not a valid population; one line for each fault.
        OSError: the file cannot be read.
    """
    path = Path(path)
    document = load_yaml(path)
    check_mapping(document.data, str(path), "a population")
    try:
        return Population.model_validate(resolve_student(document.data, path.parent))
    except ValidationError as error:
        raise ValueError(explain(error, document, Population)) from error


def _split(document: Document, path: Path) -> list[Document]:
    """One document for each experiment in a file, its origins counted from itself."""
    data, origins = document
    check_mapping(data, str(path), "an experiment")
    if data.get("kind") == "study":
        place = origins[("kind",)]
        raise ValueError(f"{place}: this is a study; run it with `tutor-sim study {path}`")
    if "experiments" not in data:
        return [document]
    for key in data:
        if key != "experiments":
            place = origins[(key,)]
            raise ValueError(f"{place}: " + unknown_name("key", key, ["experiments"]))
    if not isinstance(data["experiments"], list) or not data["experiments"]:
        where = origins[("experiments",)]
        raise ValueError(f"{where}: `experiments` must be a list of experiments")
    documents = []
    for i, item in enumerate(data["experiments"]):
        own = {key[2:]: place for key, place in origins.items() if key[:2] == ("experiments", i)}
        check_mapping(item, own[()], "an experiment")
        documents.append(Document(item, own))
    return documents


def _finish(draft: Draft, changes: Sequence[Override], short: bool) -> Experiment:
    """Override, resolve, validate."""
    if short:
        changes = [*draft.short_form(), *changes]
    draft.resolve_plug_ins()
    of_population = [change for change in changes if change.path == ("population",)]
    draft.apply(of_population)
    is_typed = any(change.is_typed for change in of_population)
    case = draft.resolve_population((), Path() if is_typed else draft.folder)
    draft.apply(change for change in changes if change not in of_population)
    try:
        experiment = Experiment.model_validate(draft.document.data)
    except ValidationError as error:
        raise ValueError(explain(error, draft.document)) from error
    if case is None or values_hold(case, experiment.population, experiment.task):
        return experiment
    return experiment.model_copy(update={"reference_values": {}})
