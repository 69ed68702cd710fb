"""Reads experiment files: references to populations and cases, ``--set`` overrides, the short form.

``population:`` in an experiment is one of

* a mapping: the population itself;
* a name: a population that ships with the environments (``tutor-sim list students``);
* another text: the path of a population file, relative to the experiment file;
* ``{case: NAME, file: cases.json}``: a family with known values. It brings its task and its exact
  values along; what the experiment says under ``task:`` comes on top. If that changes the case,
  the exact values no longer hold and are left out.

``learners.*.key`` in an override or in the short form means that key of every learner.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from tutor_envs.cases import Case, load_cases
from tutor_envs.doors.loading import resolve_reference
from tutor_envs.errors import unknown_name
from tutor_envs.population import Population
from tutor_envs.population_files import POPULATIONS
from tutor_envs.student_registry import resolve_student
from tutor_envs.yaml_loading import Document, KeyPath, load_yaml, parse_yaml
from tutor_sim.config import Experiment
from tutor_sim.config_errors import dotted, explain, origin
from tutor_sim.summary import case_references


class Override(NamedTuple):
    """One ``--set a.b=c``."""

    path: KeyPath
    value: Any
    source: str


def parse_override(text: str) -> Override:
    """Read ``a.b.0=value``; the value is YAML.

    Raises:
        ValueError: no ``=``, an empty key, or a value that is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ValueError(f"`--set` must look like a.b=value, got {text!r}")
    return Override(tuple(key.split(".")), parse_yaml(value, f"--set {key}").data, f"--set {key}")


def load_experiments(
    path: Path,
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
    changes = [parse_override(text) for text in overrides]
    if seed is not None:
        changes += [Override(("seed",), seed, "--seed"), Override(("seeds",), [], "--seed")]
    drafts = [_Draft(document, path.parent) for document in _split(load_yaml(path), path)]
    experiments = [draft.finish(changes, short) for draft in drafts]
    names = [experiment.name for experiment in experiments]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path}: `experiments` must have different names, got `{name}` twice")
    return experiments


def load_experiment(
    path: Path, *, overrides: Sequence[str] = (), seed: int | None = None
) -> Experiment:
    """The only experiment of a file; see :func:`load_experiments`."""
    experiments = load_experiments(path, overrides=overrides, seed=seed)
    if len(experiments) != 1:
        raise ValueError(
            f"{path}: holds {len(experiments)} experiments, and one is needed here; "
            "`tutor-sim compare` runs them all"
        )
    return experiments[0]


def load_population(path: Path) -> Population:
    """A population file.

    Raises:
        ValueError: the file is not a valid population; one line for each fault.
        OSError: the file cannot be read.
    """
    document = load_yaml(path)
    _check_mapping(document.data, str(path), "a population")
    try:
        return Population.model_validate(resolve_student(document.data, path.parent))
    except ValidationError as error:
        raise ValueError(explain(error, document, Population)) from error


def _check_mapping(data: Any, where: str, what: str) -> None:
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        raise ValueError(f"{where}: {what} must be a mapping of keys to values, got {found}")


def _split(document: Document, path: Path) -> list[Document]:
    """One document for each experiment in a file, its origins counted from itself."""
    data, origins = document
    _check_mapping(data, str(path), "an experiment")
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
        _check_mapping(item, own[()], "an experiment")
        documents.append(Document(item, own))
    return documents


class _Draft:
    """One experiment on its way from a file to a validated model."""

    def __init__(self, document: Document, folder: Path) -> None:
        self.document = document
        self.folder = folder
        self.case: Case | None = None

    def finish(self, changes: Sequence[Override], short: bool) -> Experiment:
        """Resolve, override, validate."""
        if short:
            changes = [*self.short_form(), *changes]
        self.resolve_plug_ins()
        of_population = [c for c in changes if c.path[0] == "population" and len(c.path) == 1]
        for change in of_population:
            self.set(change)
            self.folder = Path()
        self.resolve_population()
        for change in changes:
            if change not in of_population:
                for one in self.for_each_learner(change):
                    self.set(one)
        try:
            experiment = Experiment.model_validate(self.document.data)
        except ValidationError as error:
            raise ValueError(explain(error, self.document)) from error
        return self.without_outdated_values(experiment)

    def short_form(self) -> list[Override]:
        """What ``short:`` says, as overrides."""
        short = self.document.data.get("short", {})
        _check_mapping(short, origin(self.document, ("short",)), "`short`")
        return [
            Override(tuple(str(key).split(".")), value, origin(self.document, ("short", key)))
            for key, value in short.items()
        ]

    def for_each_learner(self, change: Override) -> list[Override]:
        """``learners.*.total_steps`` stands for that key of every learner."""
        learners = self.document.data.get("learners")
        if change.path[:2] != ("learners", "*") or not isinstance(learners, dict):
            return [change]
        rest = change.path[2:]
        return [change._replace(path=("learners", name, *rest)) for name in learners]

    # -- overrides ---------------------------------------------------------------------------------
    def set(self, change: Override) -> None:
        """Replace or add one value."""
        self.document = Document(copy.deepcopy(self.document.data), dict(self.document.origins))
        here: Any = self.document.data
        done: KeyPath = ()
        for key in change.path[:-1]:
            key = _existing_key(here, key, done, change)
            if isinstance(here, dict) and here.get(key) is None:
                here[key] = {}
                self.document.origins[(*done, key)] = change.source
            here, done = here[key], (*done, key)
        key = _existing_key(here, change.path[-1], done, change)
        here[key] = change.value
        path = (*done, key)
        for old in [p for p in self.document.origins if p[: len(path)] == path]:
            del self.document.origins[old]
        self.document.origins[path] = change.source

    # -- references --------------------------------------------------------------------------------
    def resolve_population(self) -> None:
        """Replace a path or a case by what it stands for."""
        population = self.document.data.get("population")
        if isinstance(population, str):
            self.use_file(POPULATIONS.get(population, self.folder / population))
        elif isinstance(population, dict) and "case" in population:
            self.use_case(population)
        elif isinstance(population, dict):
            self.document.data["population"] = resolve_student(population, self.folder)

    def resolve_plug_ins(self) -> None:
        """Make the files of a third party's learners and tutors independent of where they stand."""
        data = self.document.data
        learners = data.get("learners")
        named = list(learners.values()) if isinstance(learners, dict) else []
        for settings in [data.get("learner"), *named]:
            if isinstance(settings, dict) and isinstance(settings.get("algorithm"), str):
                settings["algorithm"] = resolve_reference(settings["algorithm"], self.folder)
        if isinstance(data.get("tutors"), list):
            data["tutors"] = [_resolve_tutor(tutor, self.folder) for tutor in data["tutors"]]

    def use_file(self, path: Path) -> None:
        where = origin(self.document, ("population",))
        try:
            document = load_yaml(path)
        except OSError as error:
            raise ValueError(
                f"{where}: `population` must be a mapping, one of {', '.join(POPULATIONS)}, or the "
                f"path of a population file; cannot read {path}: {error.strerror}"
            ) from error
        _check_mapping(document.data, str(path), "a population")
        self.document.data["population"] = resolve_student(document.data, path.parent)
        for key, place in document.origins.items():
            self.document.origins[("population", *key)] = place

    def use_case(self, reference: Mapping[str, Any]) -> None:
        where = origin(self.document, ("population",))
        for key in reference:
            if key not in {"case", "file"}:
                known = ["case", "file"]
                raise ValueError(f"{where}: " + unknown_name("population key", key, known))
        if "file" not in reference:
            raise ValueError(f"{where}: `population.file` is missing: the cases file of `case`")
        path = self.folder / str(reference["file"])
        try:
            cases = {case.name: case for case in load_cases(path)}
        except OSError as error:
            raise ValueError(
                f"{where}: cannot read `population.file` {path}: {error.strerror}"
            ) from error
        name = str(reference["case"])
        if name not in cases:
            raise ValueError(f"{where}: " + unknown_name("population.case", name, cases))
        self.case = cases[name]
        data = self.document.data
        data["population"] = self.case.population().model_dump(mode="json")
        data["task"] = _merge(
            self.case.task().model_dump(mode="json", exclude_unset=True), data.get("task")
        )
        data["reference_values"] = case_references(self.case.values)

    def without_outdated_values(self, experiment: Experiment) -> Experiment:
        """Drop a case's exact values if overrides made another case of it."""
        if self.case is None:
            return experiment
        theirs, ours = self.case.task(), experiment.task
        how = {"when": ours.reward.when, "expected": ours.reward.expected}
        theirs = theirs.model_copy(update={"reward": theirs.reward.model_copy(update=how)})
        if theirs == ours and self.case.population() == experiment.population:
            return experiment
        return experiment.model_copy(update={"reference_values": {}})


def _resolve_tutor(tutor: Any, folder: Path) -> Any:
    if isinstance(tutor, str):
        return resolve_reference(tutor, folder)
    if isinstance(tutor, dict):
        return {
            resolve_reference(name, folder) if isinstance(name, str) else name: options
            for name, options in tutor.items()
        }
    return tutor


def _merge(below: Any, above: Any) -> Any:
    """``above`` on top of ``below``, mapping by mapping."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: _merge(below.get(key), value) for key, value in above.items()}
    return below if above is None else above


def _existing_key(here: Any, key: str | int, done: KeyPath, change: Override) -> Any:
    """The key or list index that ``key`` means in ``here``."""
    if isinstance(here, dict):
        number = int(key) if str(key).isdigit() else None
        return number if number in here else key
    if isinstance(here, list):
        if str(key).isdigit() and int(key) < len(here):
            return int(key)
        raise ValueError(
            f"{change.source}: `{dotted(done)}` has {len(here)} entries, so the next key must be "
            f"in [0, {len(here) - 1}], got {key!r}"
        )
    raise ValueError(
        f"{change.source}: `{dotted(done)}` is {here!r} and has no keys below it, got {key!r}"
    )
