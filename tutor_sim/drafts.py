"""What experiment and study files have in common on their way to validated models.

``--set`` overrides, the short form, plug-ins of third parties, and references to populations:
``population:`` is one of

* a mapping: the population itself;
* a name: a population that ships with the environments (``tutor-sim list populations``);
* another text: the path of a population file, relative to the file that says so;
* ``{case: NAME, file: cases.json}``: a family with known values. It brings its task and its exact
  values along; what the file says under ``task:`` beside it comes on top. If that changes the case,
  the exact values no longer hold and are left out.

``learners.*.key`` in an override or in the short form means that key of every learner.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tutor_envs.cases import Case, load_cases
from tutor_envs.doors.loading import resolve_reference
from tutor_envs.errors import unknown_name
from tutor_envs.population import Population
from tutor_envs.population_files import POPULATIONS
from tutor_envs.student_registry import resolve_student
from tutor_envs.task import TeachingTask
from tutor_envs.yaml_loading import Document, KeyPath, load_yaml, parse_yaml
from tutor_sim.config_errors import dotted, origin
from tutor_sim.summary import case_references


class Override(NamedTuple):
    """One ``--set a.b=c``, or the same by a short form."""

    path: KeyPath
    value: Any
    source: str

    @property
    def is_typed(self) -> bool:
        """It was typed on the command line, where paths start from the working directory."""
        return self.source.startswith("--")


def parse_override(text: str) -> Override:
    """Read ``a.b.0=value``; the value is YAML.

    Raises:
        ValueError: no ``=``, an empty key, or a value that is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not all(key.split(".")):
        raise ValueError(f"`--set` must look like a.b=value, got {text!r}")
    return Override(tuple(key.split(".")), parse_yaml(value, f"--set {key}").data, f"--set {key}")


def check_mapping(data: Any, where: str, what: str) -> None:
    """Refuse what is no mapping of keys to values.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(data, dict):
        found = "nothing" if data is None else f"a {type(data).__name__}"
        raise ValueError(f"{where}: {what} must be a mapping of keys to values, got {found}")


class Draft:
    """A document whose values are replaced and whose references are resolved.

    Attributes:
        document: the data and where they come from.
        folder: what relative paths start from.
    """

    def __init__(self, document: Document, folder: Path) -> None:
        """The data are copied: what is replaced here stays in the draft."""
        self.document = Document(copy.deepcopy(document.data), dict(document.origins))
        self.folder = folder

    # -- overrides ---------------------------------------------------------------------------------
    def short_form(self) -> list[Override]:
        """What ``short:`` says, as overrides."""
        short = self.document.data.get("short", {})
        check_mapping(short, origin(self.document, ("short",)), "`short`")
        return [
            Override(tuple(str(key).split(".")), value, origin(self.document, ("short", key)))
            for key, value in short.items()
        ]

    def apply(self, changes: Iterable[Override]) -> None:
        """Replace or add values."""
        for change in changes:
            for one in self._for_each_learner(change):
                self._set(one)

    def _for_each_learner(self, change: Override) -> list[Override]:
        """``learners.*.total_steps`` stands for that key of every learner."""
        learners = self.document.data.get("learners")
        if change.path[:2] != ("learners", "*") or not isinstance(learners, dict):
            return [change]
        rest = change.path[2:]
        return [change._replace(path=("learners", name, *rest)) for name in learners]

    def _set(self, change: Override) -> None:
        here: Any = self.document.data
        done: KeyPath = ()
        for key in change.path[:-1]:
            key = _existing_key(here, key, done, change)
            if isinstance(here, dict) and here.get(key) is None:
                here[key] = {}
                self.document.origins[(*done, key)] = change.source
            here, done = here[key], (*done, key)
        key = _existing_key(here, change.path[-1], done, change)
        here[key] = copy.deepcopy(change.value)
        path = (*done, key)
        for old in [p for p in self.document.origins if p[: len(path)] == path]:
            del self.document.origins[old]
        self.document.origins[path] = change.source

    # -- references --------------------------------------------------------------------------------
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

    def resolve_population(self, at: KeyPath, folder: Path) -> Case | None:
        """Replace a path or a case by what it stands for.

        Args:
            at: of the mapping with the key ``population``; ``task`` and ``reference_values`` of a
                case go there, too.
            folder: what a relative path starts from.

        Returns:
            The case, if it is one.

        Raises:
            ValueError: a file cannot be read, or there is no such case.
        """
        holder: Any = self.document.data
        for key in at:
            holder = holder[key]
        population = holder.get("population")
        if isinstance(population, str):
            path = POPULATIONS.get(population, folder / population)
            holder["population"] = self._population_of_file(path, (*at, "population"))
        elif isinstance(population, dict) and "case" in population:
            return self._use_case(holder, (*at, "population"), folder)
        elif isinstance(population, dict):
            holder["population"] = resolve_student(population, folder)
        return None

    def _population_of_file(self, path: Path, at: KeyPath) -> Any:
        where = origin(self.document, at)
        try:
            document = load_yaml(path)
        except OSError as error:
            raise ValueError(
                f"{where}: `{dotted(at)}` must be a mapping, one of {', '.join(POPULATIONS)}, or "
                f"the path of a population file; cannot read {path}: {error.strerror}"
            ) from error
        check_mapping(document.data, str(path), "a population")
        for key, place in document.origins.items():
            self.document.origins[(*at, *key)] = place
        return resolve_student(document.data, path.parent)

    def _use_case(self, holder: dict[str, Any], at: KeyPath, folder: Path) -> Case:
        where, key_of = origin(self.document, at), dotted(at)
        reference: Mapping[str, Any] = holder["population"]
        for key in reference:
            if key not in {"case", "file"}:
                known = ["case", "file"]
                raise ValueError(f"{where}: " + unknown_name("population key", key, known))
        if "file" not in reference:
            raise ValueError(f"{where}: `{key_of}.file` is missing: the cases file of `case`")
        path = folder / str(reference["file"])
        try:
            cases = {case.name: case for case in load_cases(path)}
        except OSError as error:
            raise ValueError(
                f"{where}: cannot read `{key_of}.file` {path}: {error.strerror}"
            ) from error
        name = str(reference["case"])
        if name not in cases:
            raise ValueError(f"{where}: " + unknown_name(f"{key_of}.case", name, cases))
        case = cases[name]
        holder["population"] = case.population().model_dump(mode="json")
        holder["task"] = _merge(
            case.task().model_dump(mode="json", exclude_unset=True), holder.get("task")
        )
        holder["reference_values"] = case_references(case.values)
        return case


def values_hold(case: Case, population: Population, task: TeachingTask) -> bool:
    """Overrides made no other case of it; when a score is paid does not matter."""
    theirs = case.task()
    how = {"when": task.reward.when, "expected": task.reward.expected}
    theirs = theirs.model_copy(update={"reward": theirs.reward.model_copy(update=how)})
    return theirs == task and case.population() == population


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
