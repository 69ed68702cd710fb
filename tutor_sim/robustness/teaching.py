"""Who teaches where, and what comes of it: a line for each learned tutor and population.

Nobody is trained again. The learned tutor and the experiment's other tutors are those of home; the
references `random`, `oracle` and, where the experiment has it and it can plan there, `bayes` are
made for each population: they say what could be done there by someone who was told.

Students with the same index have the same ranks and the same luck in every population, so the
difference between two populations is taken student by student. That holds for unrelated student
models too: pairs are independent of each other, however much or little the two of a pair have in
common, and the interval of the mean difference takes account of it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutor_agents.registry import check_can_teach, make_tutor
from tutor_agents.tutor import CannotTeach, Oracle, Tutor
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population
from tutor_sim.compare import Learned, listed_tutor, what_is_scored
from tutor_sim.config import Experiment
from tutor_sim.evaluation import Evaluation, Role, by_tutor, evaluate
from tutor_sim.robustness.populations import Elsewhere, LeftOut
from tutor_sim.statistics import Estimate, paired_difference, undefined
from tutor_sim.summary import BAYES, ORACLE, RANDOM, Summary, summarise

Array = NDArray[np.float64]
Status = Callable[[str], Any]


@dataclasses.dataclass(frozen=True)
class Line:
    """A learned tutor with one population.

    Attributes:
        place: the population.
        tutor: the learned tutor's name.
        score: its mean score there.
        drop: its score at home less that, student by student; 0 at home.
        baseline: the best tutor without training there.
        baseline_score: what that one achieves.
        baseline_drop: what that one achieved at home less what it achieves there.
        lead: the tutor's score less that of the best baseline there.
        random: score of the random tutor there.
        oracle: score of the oracle there, who is told everything about every student.
        bayes: score of the tutor that was told of this population and plans exactly.
        fraction_of_oracle: 0 for the random tutor there, 1 for the oracle there.
        fraction_of_optimal: 0 for the random tutor there, 1 for the Bayes-optimal one there.
    """

    place: Elsewhere
    tutor: str
    score: Estimate
    drop: Estimate
    baseline: str
    baseline_score: Estimate
    baseline_drop: Estimate
    lead: Estimate
    random: Estimate
    oracle: Estimate
    bayes: Estimate
    fraction_of_oracle: Estimate
    fraction_of_optimal: Estimate


@dataclasses.dataclass(frozen=True)
class Robustness:
    """What a tutor is worth elsewhere.

    Attributes:
        experiment: of the run.
        scored: what was scored, in words.
        n_students: test students of each population.
        places: the populations, home first.
        summaries: of each place.
        lines: place by place.
        left_out: populations that could not be made, and why.
        notes: what else could not be done.
    """

    experiment: Experiment
    scored: str
    n_students: int
    places: tuple[Elsewhere, ...]
    summaries: tuple[Summary, ...]
    lines: tuple[Line, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


class _Teaching(NamedTuple):
    name: str
    role: Role
    tutor: Tutor
    seed: int | None


def teach_elsewhere(
    experiment: Experiment,
    learned: Sequence[Learned],
    elsewhere: Sequence[Elsewhere],
    *,
    n_students: int,
    device: str = "cpu",
    left_out: Sequence[LeftOut] = (),
    status: Status = lambda text: None,
) -> Robustness:
    """Let the tutors of an experiment teach at home and elsewhere.

    Args:
        experiment: home, task and tutors.
        learned: trained tutors, at least one.
        elsewhere: other populations, whose actions mean the same.
        n_students: test students of each.
        device: of PyTorch; the learned tutors must be there.
        left_out: populations that could not be made.
        status: told what is going on.

    Raises:
        ValueError: the task cannot be taught to one of the populations, or a tutor fails there.
    """
    home = Elsewhere("home", "home", experiment.population, experiment.population.description)
    places = (home, *elsewhere)
    for place in elsewhere:
        _check_task(place, experiment)
    notes: list[str] = []
    evaluations: list[list[Evaluation]] = [[] for _ in places]

    def teach(at: _Teaching, index: int) -> None:
        status(f"{at.name} teaches {places[index].name}")
        evaluation = evaluate(
            at.tutor,
            places[index].population,
            experiment.task,
            n_students=n_students,
            seed=experiment.evaluation.seed,
            role=at.role,
            device=device,
        )
        evaluations[index].append(
            dataclasses.replace(evaluation, tutor=at.name, training_seed=at.seed)
        )

    for at in _made_at_home(experiment, learned, device, notes):
        for index in range(len(places)):
            teach(at, index)
    for index, place in enumerate(places):
        for at in _told(experiment, place, device, notes):
            teach(at, index)
    summaries = tuple(summarise(found) for found in evaluations)
    lines = [
        _line(place, one.name, found, summary, evaluations[0])
        for place, found, summary in zip(places, evaluations, summaries, strict=True)
        for one in {one.name: one for one in learned}.values()
    ]
    return Robustness(
        experiment,
        what_is_scored(evaluations[0][0]),
        n_students,
        places,
        summaries,
        tuple(lines),
        tuple(left_out),
        tuple(notes),
    )


def _check_task(place: Elsewhere, experiment: Experiment) -> None:
    try:
        Classroom(place.population, experiment.task)
    except ValueError as error:
        raise ValueError(f"population {place.name}: {error}") from error


def _made_at_home(
    experiment: Experiment, learned: Sequence[Learned], device: str, notes: list[str]
) -> Iterator[_Teaching]:
    """The learned tutors, and the experiment's own that are no references."""
    for one in learned:
        yield _Teaching(one.name, Role.LEARNED, one.make(), one.seed)
    for spec in experiment.tutors:
        if spec.algorithm in (RANDOM, BAYES, ORACLE) or spec.name in experiment.learned:
            continue
        try:
            tutor = listed_tutor(experiment, spec, device)
        except CannotTeach as error:
            notes.append(f"{spec.name} is left out: {error}")
            continue
        if not isinstance(tutor, Oracle):
            yield _Teaching(tutor.name, Role.BASELINE, tutor, None)


def _told(
    experiment: Experiment, place: Elsewhere, device: str, notes: list[str]
) -> Iterator[_Teaching]:
    """The references, made for the population that they teach."""
    make = functools.partial(
        make_tutor,
        population=place.population,
        task=experiment.task,
        seed=experiment.seed,
        device=device,
    )
    yield _Teaching(RANDOM, Role.BASELINE, make(RANDOM), None)
    if _can_predict(place.population):
        yield _Teaching(ORACLE, Role.ORACLE, make(ORACLE), None)
    for spec in experiment.tutors:
        if spec.algorithm == BAYES:
            try:
                yield _Teaching(BAYES, Role.OPTIMUM, make(BAYES, **spec.options), None)
            except CannotTeach as error:
                notes.append(f"{place.name}: no Bayes-optimal tutor: {error}")


def _can_predict(population: Population) -> bool:
    try:
        check_can_teach(ORACLE, population)
    except ValueError:
        return False
    return True


# -- lines -----------------------------------------------------------------------------------------
def _line(
    place: Elsewhere,
    tutor: str,
    evaluations: Sequence[Evaluation],
    summary: Summary,
    home: Sequence[Evaluation],
) -> Line:
    mine, baseline = summary[tutor], summary.baseline
    assert baseline is not None  # random always teaches
    by_name = {line.tutor: line for line in summary.tutors}

    def score_of(name: str) -> Estimate:
        return by_name[name].score if name in by_name else undefined(f"no `{name}` there")

    return Line(
        place=place,
        tutor=tutor,
        score=mine.score,
        drop=_drop(tutor, home, evaluations),
        baseline=baseline,
        baseline_score=score_of(baseline),
        baseline_drop=_drop(baseline, home, evaluations),
        lead=mine.versus_baseline,
        random=score_of(RANDOM),
        oracle=score_of(ORACLE),
        bayes=score_of(BAYES),
        fraction_of_oracle=mine.fraction_of_oracle,
        fraction_of_optimal=mine.fraction_of_optimal,
    )


def _drop(tutor: str, home: Sequence[Evaluation], there: Sequence[Evaluation]) -> Estimate:
    return paired_difference(_scores(home, tutor), _scores(there, tutor))


def _scores(evaluations: Sequence[Evaluation], tutor: str) -> Array:
    """Score of each student with each of the tutor's seeds, ``(S, n)``."""
    return np.stack([e.student_scores for e in by_tutor(evaluations)[tutor]])
