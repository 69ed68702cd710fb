"""Logs of simulated students, and simulated students in the place of a log's."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from tutor_envs.population import Population, Split, student_indices
from tutor_envs.population_files import default_population
from tutor_envs.student import SECONDS_PER_DAY
from tutor_envs.task import TeachingTask
from tutor_sim.cli import app
from tutor_sim.logs.log import InteractionLog
from tutor_sim.logs.read import read_log
from tutor_sim.logs.replay import replay_log
from tutor_sim.logs.simulate import simulate_log

DAY = SECONDS_PER_DAY


def population(student: str, model: dict[str, Any], latents: dict[str, Any]) -> Population:
    return Population.model_validate(
        {"name": "test", "student": student, "model": model, "latents": latents}
    )


def make_log(rows: list[tuple[int, str, float, float]]) -> InteractionLog:
    """Rows of (student, item, days, correct)."""
    names = tuple(sorted({item for _, item, _, _ in rows}))
    codes = np.array([names.index(item) for _, item, _, _ in rows])
    n_students = 1 + max(row[0] for row in rows)
    return InteractionLog(
        student=np.array([row[0] for row in rows]),
        item=codes,
        skill=codes,
        more_skills={},
        correct=np.array([row[3] for row in rows]),
        time_s=np.array([row[2] * DAY for row in rows]),
        response_time_s=np.full(len(rows), np.nan),
        rating=np.zeros(len(rows), dtype=np.int64),
        line=np.arange(len(rows)),
        student_names=tuple(map(str, range(n_students))),
        item_names=names,
        skill_names=names,
    )


# -- simulating -----------------------------------------------------------------------------------
def test_a_simulated_log_has_a_row_for_every_action() -> None:
    people = default_population("memory")
    log = simulate_log(people, n_students=7, n_steps=9, seed=3)
    assert len(log) == 63
    assert log.student.tolist() == np.repeat(np.arange(7), 9).tolist()
    assert set(log.correct) == {0.0, 1.0}
    assert set(log.item_names) <= set(people.student_model.skills)
    step_s = people.student_model.step_s
    np.testing.assert_allclose(log.time_s.reshape(7, 9), np.tile(np.arange(9) * step_s, (7, 1)))
    again = simulate_log(people, n_students=7, n_steps=9, seed=3)
    np.testing.assert_array_equal(log.correct, again.correct)
    other = simulate_log(people, n_students=7, n_steps=9, seed=4)
    assert (log.correct != other.correct).any()


def test_lessons_are_new_topics() -> None:
    people = default_population("bkt")
    log = simulate_log(people, n_students=3, task=TeachingTask(n_lessons=2, n_steps=4))
    names = np.array(log.item_names)[log.item].reshape(3, 2, 4)
    assert not any(name.startswith("lesson") for name in names[:, 0].flat)
    assert all(name.startswith("lesson 2: ") for name in names[:, 1].flat)


def test_a_tutor_and_a_sure_student_are_as_expected() -> None:
    sure = population("bkt", {"n_skills": 2, "modalities": ["a"]}, {"p_init": 1, "p_slip": 0})
    log = simulate_log(sure, n_students=2, n_steps=4, tutor="round_robin")
    assert log.correct.tolist() == [1] * 8
    assert log.item.tolist() == [0, 1, 0, 1] * 2


def test_mistakes_in_simulating_are_named() -> None:
    people = default_population("bkt")
    with pytest.raises(ValueError, match="not both"):
        simulate_log(people, n_students=1, n_steps=3, task=TeachingTask())
    with pytest.raises(ValueError, match="did you mean 'random'"):
        simulate_log(people, n_students=1, n_steps=3, tutor="randm")


# -- replaying ------------------------------------------------------------------------------------
def test_answers_are_drawn_with_the_probability_that_is_told() -> None:
    for name in ("memory", "irt", "bkt"):
        people = default_population(name)
        log = simulate_log(people, n_students=400, n_steps=15)
        replay = replay_log(log, people, seed=1)
        p, correct = replay.p_correct, replay.log.correct
        # Each of four groups of equal p: the mean answer is p within five standard errors.
        for low, high in zip((0, 0.3, 0.6, 0.8), (0.3, 0.6, 0.8, 1.01), strict=True):
            group = (p >= low) & (p < high)
            error = np.sqrt((p * (1 - p))[group].sum()) / max(group.sum(), 1)
            assert abs(p[group].mean() - correct[group].mean()) < 5 * error + 1e-9, name


def forgetful(**model: Any) -> Population:
    """Two items, one way to teach each, and students who forget."""
    return population("hlr", {"n_skills": 2, "modalities": ["a"], "step_s": 1.0} | model, {})


def test_the_log_decides_items_and_times() -> None:
    log = make_log([(0, "k1", 0, 1), (0, "k0", 1, 0), (1, "k0", 0, np.nan), (1, "k1", 9, 1)])
    replay = replay_log(log, forgetful(skill_names=["k0", "k1"]))
    np.testing.assert_array_equal(np.isnan(replay.log.correct), [0, 0, 1, 0])
    np.testing.assert_array_equal(np.isnan(replay.p_correct), [0, 0, 1, 0])
    np.testing.assert_array_equal(replay.log.time_s, log.time_s)
    np.testing.assert_array_equal(replay.log.item, log.item)


def test_pauses_pass_in_the_model_as_in_the_log() -> None:
    """A replay by hand, step by step, through the student model's own functions."""
    people = forgetful()
    model = people.student_model
    days = [0.0, 0.5, 0.5 + 0.4 / DAY, 4.0]
    items = [model.skills[i] for i in (0, 1, 0, 0)]
    log = make_log([(0, item, at, 1) for item, at in zip(items, days, strict=True)])
    replay = replay_log(log, people, seed=5)

    latents = people.sample(5, student_indices(Split.TEST, 1))
    state = model.begin_lesson(latents, torch.zeros(1, model.n_start_uniforms))
    # The third row comes 0.4 s after the second, whose step took 1 s: no pause, and the clock is
    # 0.6 s late, which the last pause makes good.
    pauses = [0.0, 0.5 - 1 / DAY, 0.0, 4.0 - (0.5 + 2 / DAY)]
    for row, (pause, item) in enumerate(zip(pauses, (0, 1, 0, 0), strict=True)):
        luck = torch.zeros(1, model.n_wait_uniforms)
        state = model.wait(latents, state, torch.tensor([pause]), luck)
        action = torch.tensor([item])
        assert replay.p_correct[row] == pytest.approx(
            model.predict(latents, state, action)[0, 1].item(), abs=1e-6
        )
        response = torch.tensor([int(replay.log.correct[row])])
        state = model.update(latents, state, action, response)


def test_a_student_does_not_depend_on_the_others() -> None:
    people = forgetful()
    log = simulate_log(people, n_students=6, n_steps=80)
    keep = np.arange(len(log)) % 80 < 10 * (1 + log.student)
    whole, part = (
        replay_log(log, people, seed=2),
        replay_log(log.rows(np.flatnonzero(keep)), people, seed=2),
    )
    np.testing.assert_array_equal(whole.log.correct[keep], part.log.correct)
    np.testing.assert_allclose(whole.p_correct[keep], part.p_correct, atol=1e-6)


def test_a_study_trial_teaches() -> None:
    """Whoever studied an item first knows it better than whoever meets it then."""
    rows = [(0, "k0", 0, np.nan)] * 5 + [(0, "k0", 0.01, 1)] + [(1, "k0", 0.01, 1)]
    replay = replay_log(make_log(rows), forgetful(skill_names=["k0", "k1"]))
    assert replay.p_correct[5] > replay.p_correct[6]


def test_skills_are_taught_where_items_are_unknown() -> None:
    people = forgetful()
    log = make_log([(0, "q1", 0, 1), (0, "q2", 1, 1)])
    names = people.student_model.skills
    by_skill = dataclasses.replace(log, skill_names=names, skill=np.array([1, 0]))
    items = make_log([(0, names[1], 0, 1), (0, names[0], 1, 1)])
    np.testing.assert_array_equal(
        replay_log(by_skill, people).p_correct, replay_log(items, people).p_correct
    )
    with pytest.raises(ValueError, match=r"teaches 'item_0', 'item_1'.*2 items such as 'q1', 'q2'"):
        replay_log(log, people)


def test_a_history_that_is_too_long_is_refused() -> None:
    people = default_population("style_bandit")
    longest = people.student_model.max_lesson_steps
    assert longest is not None
    name = simulate_log(people, n_students=1, n_steps=1).item_names[0]
    rows = [(0, name, 0.0, 1.0)] * (longest + 1)
    with pytest.raises(ValueError, match=f"at most {longest} steps.*the longest history has"):
        replay_log(make_log(rows), people)


# -- the command ----------------------------------------------------------------------------------
def tutor_sim(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_simulate_writes_a_log_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    result = tutor_sim("simulate", "bkt", "-o", path, "--students", 5, "--steps", 6, "--seed", 1)
    assert result.exit_code == 0, result.output
    log, _ = read_log(path)
    simulated = simulate_log(default_population("bkt"), n_students=5, n_steps=6, seed=1)
    np.testing.assert_array_equal(log.correct, simulated.correct)
    assert f"{path}: 30 rows of 5 students" in result.output.replace("\n", "")


def test_simulate_names_mistakes(tmp_path: Path) -> None:
    result = tutor_sim("simulate", "bktt", "-o", tmp_path / "x.csv")
    assert result.exit_code == 2
    assert "did you mean 'bkt'" in result.output
