"""Standard shifts: drawn latents move by what was said, and students do learn less, or forget."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.population_files import default_population
from tutor_envs.shifts import SHIFTS, shifted
from tutor_envs.students import STUDENT_MODELS
from tutor_envs.task import TeachingTask

N = 2000


def drawn(population: Population) -> dict[str, torch.Tensor]:
    return population.sample(3, student_indices(Split.TEST, N), dtype=torch.float64)


def bkt(**latents: Any) -> Population:
    given = {"name": "b", "student": "bkt", "model": {"n_skills": 2, "modalities": ["a", "b"]}}
    return Population.model_validate(given | {"latents": latents})


def test_weaker_students_have_one_standard_deviation_less_ability() -> None:
    home = bkt(ability={"normal": {"mean": 0.3, "sd": 0.5}})
    before, after = drawn(home)["ability"], drawn(shifted(home, "weaker"))["ability"]
    drop = before - after
    assert drop.min() == pytest.approx(drop.max())  # the same for everyone
    assert drop.mean() == pytest.approx(0.5, abs=0.02)  # the spread is taken from 4,096 others


def test_weaker_is_one_unit_where_all_are_equally_able() -> None:
    home = bkt(ability=0.2)
    assert drawn(shifted(home, "weaker"))["ability"].unique().item() == pytest.approx(-0.8)


def test_slower_students_learn_half_as_much_per_practice() -> None:
    home = bkt(p_learn={"beta": {"mean": 0.3, "concentration": 5}})
    torch.testing.assert_close(
        drawn(shifted(home, "slower"))["p_learn"], drawn(home)["p_learn"] / 2
    )


def test_growth_that_is_a_factor_is_halved_above_one() -> None:
    home = default_population("memory")
    growth = drawn(home)["growth"]
    torch.testing.assert_close(drawn(shifted(home, "slower"))["growth"], 1 + (growth - 1) / 2)


def test_growth_on_a_logarithmic_scale_is_halved() -> None:
    afm, fsrs = default_population("afm"), default_population("fsrs")
    speed, faster = (drawn(p)["log_speed"].exp() for p in (shifted(afm, "slower"), afm))
    torch.testing.assert_close(speed, faster / 2)
    growth, more = (drawn(p)["w8"].exp() for p in (shifted(fsrs, "slower"), fsrs))
    torch.testing.assert_close(growth, (more / 2).clamp(min=1))  # w8 is not below 0


def test_more_slips_are_a_tenth_more_and_never_above_one() -> None:
    home = bkt(p_slip={"uniform": {"low": 0.2, "high": 1.0}})
    before, after = drawn(home)["p_slip"], drawn(shifted(home, "more_slips"))["p_slip"]
    torch.testing.assert_close(after, (before + 0.1).clamp(max=1))
    assert (after == 1).any()


@pytest.mark.parametrize(
    ("student", "half_life"),
    [
        ("memory", lambda latents: latents["half_life"]),
        ("hlr", lambda latents: 2.0 ** latents["bias"]),
        ("efc", lambda latents: 1 / latents["decay_rate"]),
    ],
)
def test_what_is_remembered_fades_3_75_times_as_fast(student: str, half_life: Any) -> None:
    home = default_population(student)
    before, after = half_life(drawn(home)), half_life(drawn(shifted(home, "more_forgetting")))
    assert (before / after).median() == pytest.approx(3.75)


def test_styles_are_turned_taken_away_or_made_stronger() -> None:
    home = bkt(
        responsiveness={"dirichlet": {"concentration": [0.5, 2]}},
        style_strength={"beta": {"mean": 0.4, "concentration": 4}},
    )
    before = drawn(home)
    turned, none, strong = (
        drawn(shifted(home, name)) for name in ("turned_styles", "no_styles", "stronger_styles")
    )
    torch.testing.assert_close(turned["responsiveness"], before["responsiveness"].flip(-1))
    assert not none["style_strength"].any()
    torch.testing.assert_close(strong["style_strength"], (1 + before["style_strength"]) / 2)


def test_types_are_changed_each_in_its_own_way_and_keep_their_weights() -> None:
    home = default_population("mixed_types")
    slower, slips = shifted(home, "slower"), shifted(home, "more_slips")
    before = drawn(home)
    torch.testing.assert_close(drawn(slower)["p_learn"], before["p_learn"] / 2)
    torch.testing.assert_close(drawn(slips)["p_slip"], before["p_slip"] + 0.1)
    assert torch.equal(drawn(slower)["type"], before["type"])


def test_a_finite_family_stays_one_with_moved_values() -> None:
    home = bkt(
        ability={"categorical": {"values": [-1, 1], "probabilities": [0.25, 0.75]}},
        responsiveness={"categorical": {"values": [[1, 0], [0.4, 0.6]]}},
    )
    # one standard deviation: 2 sqrt(1/4 3/4)
    weaker = shifted(home, "weaker").types_exact()
    expected = {-1 - math.sqrt(0.75), 1 - math.sqrt(0.75)}
    assert sorted(set(weaker.latents["ability"].tolist())) == pytest.approx(
        sorted(expected), abs=0.02
    )
    torch.testing.assert_close(weaker.prior, home.types_exact().prior)
    turned = shifted(home, "turned_styles").types_exact()
    assert {tuple(row) for row in turned.latents["responsiveness"].tolist()} == {
        (0, 1),
        (0.6, 0.4),
    }


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("student", ["bkt", "style_bandit", "data_shaped"])
def test_a_shift_changes_some_latents_and_leaves_the_others(student: str, shift: str) -> None:
    home = default_population(student)
    if (student, shift) == ("style_bandit", "more_forgetting"):
        pytest.skip("nothing is forgotten there")
    there = shifted(home, shift)
    before, after = drawn(home), drawn(there)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert 1 <= len(changed) <= 2
    assert there.name == f"{home.name}:{shift}"
    assert there.student_model.actions == home.student_model.actions


def mean_score(population: Population) -> float:
    """Expected post-test after every action in turn, with the same luck for all populations."""
    room = Classroom(population, TeachingTask(n_steps=12))
    room.begin_trial(student_indices(Split.TEST, 300))
    for step in range(12):
        outcome = room.step(torch.full((300,), step % room.model.n_actions))
    return outcome.truth.post_test.mean().item()


@pytest.mark.parametrize("shift", ["slower", "more_forgetting"])
@pytest.mark.parametrize("student", STUDENT_MODELS)
def test_slower_and_forgetful_students_know_less_after_the_same_lesson(
    student: str, shift: str
) -> None:
    home = default_population(student)
    try:
        there = shifted(home, shift)
    except ValueError as error:
        assert "no latent" in str(error) or "changes no student" in str(error)  # noqa: PT017
        return
    assert mean_score(there) < mean_score(home) - 0.005


@pytest.mark.parametrize(
    ("student", "shift", "message"),
    [
        ("dash", "more_slips", "student model `dash` has no latent for it"),
        ("neural", "slower", "student model `neural` has no latent for it"),
        ("irt", "more_forgetting", "it changes no student of `irt` (see `drift_per_day`)"),
        ("style_placebo", "no_styles", "it changes no student of `style_placebo`"),
        ("bkt", "weeker", "weaker"),
    ],
)
def test_shifts_that_make_no_sense_are_refused(student: str, shift: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        shifted(default_population(student), shift)
    assert message in str(caught.value)
