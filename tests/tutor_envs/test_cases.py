"""Families with exactly known values, as ordinary populations."""

from __future__ import annotations

import json
import math

import pytest
import torch

from tutor_envs.cases import Case, load_cases
from tutor_envs.classroom import Classroom
from tutor_envs.population import Split, student_indices

N = 20_000
FIVE_SIGMA = 5.3


def returns(case: Case, choose) -> torch.Tensor:
    """Returns ``(N,)`` of a tutor that chooses actions ``(N,)`` by the step."""
    room = Classroom(case.population(), case.task())
    room.begin_trial(student_indices(Split.TEST, N))
    total = torch.zeros(N, dtype=torch.float64)
    for step in range(case.task().n_steps):
        total += room.step(choose(step, room.model.n_actions)).reward
    return total


def agrees(found: torch.Tensor, value: float) -> bool:
    return abs(found.mean().item() - value) < FIVE_SIGMA * found.std().item() / math.sqrt(N)


def test_every_case_is_a_finite_population_with_its_prior(cases_file):
    cases = load_cases(cases_file)
    assert len(cases) >= 8
    for case in cases:
        types = case.population().types_exact()
        prior = torch.tensor(case.parameters["prior"], dtype=torch.float64)
        torch.testing.assert_close(types.prior, prior[prior > 0] / prior.sum())


def test_teaching_at_random_earns_what_the_file_says(cases_file):
    for case in load_cases(cases_file):
        luck = torch.Generator().manual_seed(0)

        def at_random(_, n_actions, luck=luck):
            return torch.randint(n_actions, (N,), generator=luck)

        assert agrees(returns(case, at_random), case.values["random"]), case.name


def test_the_best_fixed_sequence_earns_what_the_file_says(cases_file):
    for case in load_cases(cases_file):
        sequence = case.values["openloop_seq"]
        found = returns(case, lambda step, _, sequence=sequence: torch.full((N,), sequence[step]))
        assert agrees(found, case.values["openloop"]), case.name


BANDIT = {
    "name": "tiny",
    "family": "style_bandit",
    "parameters": {
        "prior": [0.3, 0.7],
        "p": [[0.8, 0.2], [0.1, 0.5]],
        "slip": 0.1,
        "guess": 0.2,
        "T": 2,
    },
}


def test_a_case_by_hand():
    case = Case.model_validate(BANDIT)
    # the first modality twice: 2 * (.3 * .8 + .7 * .1) = .62 events
    assert agrees(returns(case, lambda *_: torch.zeros(N).long()), 0.62)


def write(folder, data):
    path = folder / "cases.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", r"cases\.json: not JSON"),
        ([], r"must be an object with `format`: 1"),
        ({"format": 2, "cases": []}, r"must be an object with `format`: 1"),
        ({"format": 1, "cases": [{"name": "a"}]}, "family"),
    ],
)
def test_files_that_are_no_cases_are_named(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        load_cases(write(tmp_path, data))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "style_bandits"}, "unknown `cases.tiny.family` 'style_bandits'.*did you mean"),
        ({"parameters": {"prior": [1]}}, "case `tiny` lacks the parameter 'p'"),
        (
            {"parameters": BANDIT["parameters"] | {"p": [0.5, 0.5]}},
            "case `tiny` has parameters of the wrong shape",
        ),
        (
            {"parameters": BANDIT["parameters"] | {"prior": [0.3, 0.3, 0.4]}},
            "case `tiny` has parameters of the wrong shape: .*argument 2 is shorter",
        ),
        ({"parameters": BANDIT["parameters"] | {"slip": 1.5}}, "p_slip` must stay in"),
    ],
)
def test_cases_that_are_no_families_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        Case.model_validate(BANDIT | changes).population()


def test_a_case_reads_back_from_its_file(tmp_path):
    (case,) = load_cases(write(tmp_path, {"format": 1, "cases": [BANDIT]}))
    assert case == Case.model_validate(BANDIT)
    assert case.task().n_steps == 2


def test_a_student_who_learns_by_no_modality_is_a_student_too():
    never = {"p": [[0.8, 0.2], [0.0, 0.0]]}
    case = Case.model_validate(BANDIT | {"parameters": BANDIT["parameters"] | never})
    # the first modality twice: 2 * .3 * .8 = .48 events
    assert agrees(returns(case, lambda *_: torch.zeros(N).long()), 0.48)
