"""Evaluation: what is recorded, for whom, and that it depends on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tutor_agents.oracle import OracleTutor
from tutor_agents.random_tutor import RandomTutor
from tutor_agents.tutor import Trial
from tutor_envs.cases import load_cases
from tutor_envs.classroom import Observation
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import Reward, TeachingTask
from tutor_sim.evaluation import Evaluation, Role, evaluate
from tutor_sim.results import read_results, scores_by_tutor, write_results
from tutor_sim.statistics import mean_interval

CASES = Path(__file__).parents[3] / "shared" / "cases" / "bayes_limit.json"


class Sequencer:
    """Gives everyone the same actions, lesson after lesson; keeps a diary."""

    def __init__(self, sequence: Sequence[int], name: str = "sequencer") -> None:
        self.name = name
        self.sequence = sequence
        self.diary: list[str] = []

    def begin_trial(self, trial: Trial) -> None:
        self.diary.append(f"begin {len(trial.students)}")

    def act(self, observation: Observation) -> Tensor:
        self.diary.append("act")
        return torch.full_like(observation.action, self.sequence[observation.step])

    def observe(self, action: Tensor, observation: Observation) -> None:
        self.diary.append(f"observe {observation.lesson}.{observation.step}")


def certain_bandit(**changes: Any) -> Population:
    """Half the students always learn by text and never by video, the other half the reverse.

    p_event * (1 + 1 * (2 * responsiveness - 1)) = 0.5 * 2 = 1 or 0.
    """
    return Population.model_validate(
        {
            "name": "certain",
            "student": "style_bandit",
            "model": {"modalities": ["text", "video"], "n_units": 4},
            "latents": {"p_event": 0.5, "style_strength": 1, "p_slip": 0, "p_guess": 0},
            "types": {
                "reader": {"weight": 1, "latents": {"responsiveness": [1, 0]}},
                "viewer": {"weight": 1, "latents": {"responsiveness": [0, 1]}},
            },
        }
        | changes
    )


TASK = TeachingTask(n_lessons=2, n_steps=4, reward=Reward(scale=4))


def lessons(tutor: Any, **options: Any) -> Evaluation:
    return evaluate(tutor, certain_bandit(), TASK, **{"n_students": 60, "seed": 1} | options)


class TestWhatIsRecorded:
    def test_scores_progress_and_counts_of_a_known_lesson(self) -> None:
        found = lessons(Sequencer([0, 0, 0, 1]))  # readers learn 3 of 4 units, viewers 1
        reader = found.types == 0
        assert 0 < reader.sum() < 60
        expected = np.where(reader, 3.0, 1.0)
        np.testing.assert_allclose(found.scores, np.stack([expected, expected], axis=1), atol=1e-6)
        np.testing.assert_allclose(found.student_scores, expected, atol=1e-6)
        for lesson in range(2):
            of_reader = found.progress[lesson][:, reader]
            np.testing.assert_allclose(of_reader.T, [[0, 1, 2, 3, 3]] * reader.sum(), atol=1e-6)
        assert found.action_counts.shape == (2, 4, 2)
        assert found.action_counts[:, :, 0].tolist() == [[60, 60, 60, 0]] * 2
        right = int(reader.sum())  # no slips, no guesses: right where something was learned
        counts = [[60 - right, right, 0]] * 3 + [[right, 60 - right, 0]]
        assert found.response_counts.tolist() == [counts] * 2
        assert found.fit[0, 0].tolist() == reader.astype(float).tolist()

    def test_other_scores_have_mastery_as_progress(self) -> None:
        task = TASK.model_copy(update={"reward": Reward(score="mastery_gain")})
        found = evaluate(Sequencer([0] * 4), certain_bandit(), task, n_students=8, seed=1)
        np.testing.assert_array_equal(found.progress, found.mastery)

    def test_the_score_is_the_drawn_one_at_the_end_however_training_is_rewarded(self) -> None:
        shaped = TASK.model_copy(update={"reward": Reward(scale=4, when="step", expected=True)})
        one = evaluate(Sequencer([0] * 4), certain_bandit(), shaped, n_students=8, seed=1)
        assert one.task == TASK
        np.testing.assert_allclose(one.scores[:, 0], one.progress[0, -1], atol=1e-6)

    def test_every_step_is_observed_the_last_too(self) -> None:
        tutor = Sequencer([0] * 4)
        lessons(tutor, n_students=3)
        seen = ["0.1", "0.2", "0.3", "1.0", "1.1", "1.2", "1.3", "2.0"]
        steps = [entry for moment in seen for entry in ("act", f"observe {moment}")]
        assert tutor.diary == ["begin 3", *steps]

    def test_the_time_of_an_action_is_positive(self) -> None:
        assert 0 < lessons(Sequencer([0] * 4)).us_per_action < 1e6


class TestWhoIsTaught:
    @pytest.mark.parametrize("split", list(Split))
    def test_the_students_are_the_first_of_the_split(self, split: Split) -> None:
        found = lessons(Sequencer([0] * 4), split=split, n_students=5)
        assert found.students.tolist() == student_indices(split, 5).tolist()

    def test_splits_and_seeds_are_other_students(self) -> None:
        test, validation, other = (
            lessons(Sequencer([0] * 4), **options).types.tolist()
            for options in ({}, {"split": Split.VALIDATION}, {"seed": 2})
        )
        assert test != validation
        assert test != other

    @pytest.mark.parametrize("batch_students", [1, 7])
    def test_the_batch_size_changes_nothing(self, batch_students: int) -> None:
        population = Population.model_validate(
            {"name": "p", "student": "bkt", "latents": {"ability": {"normal": {"sd": 1}}}}
        )
        task = TeachingTask(n_lessons=2, n_steps=3)
        tutor = RandomTutor(population.student_model)
        whole, parts = (
            evaluate(tutor, population, task, n_students=60, seed=1, batch_students=size)
            for size in (60, batch_students)
        )
        for field in ("students", "types", "scores", "post_test", "mastery", "fit"):
            np.testing.assert_array_equal(getattr(whole, field), getattr(parts, field), field)
        np.testing.assert_array_equal(whole.actions, parts.actions)
        np.testing.assert_array_equal(whole.responses, parts.responses)

    def test_two_equal_tutors_differ_by_exactly_nothing(self) -> None:
        one, other = (lessons(RandomTutor(certain_bandit().student_model)) for _ in range(2))
        np.testing.assert_array_equal(one.scores, other.scores)


class TestRoles:
    def test_an_oracle_is_informed_and_says_so(self) -> None:
        found = lessons(OracleTutor(), role=Role.BASELINE)
        assert found.role is Role.ORACLE
        assert found.privileged
        assert found.scores.tolist() == [[4.0, 4.0]] * 60

    def test_others_are_what_they_are_called(self) -> None:
        found = lessons(Sequencer([0] * 4), role=Role.LEARNED)
        assert found.role is Role.LEARNED
        assert not found.privileged


class TestMistakes:
    @pytest.mark.parametrize("name", ["n_students", "batch_students"])
    def test_nobody_to_teach(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"`{name}` must be >= 1, got 0"):
            lessons(Sequencer([0] * 4), **{name: 0})

    def test_an_action_that_does_not_exist(self) -> None:
        with pytest.raises(ValueError, match=r"tutor `sequencer` must act in \[0, 2\), got 2"):
            lessons(Sequencer([2]))
        with pytest.raises(ValueError, match=r"got -1"):
            lessons(Sequencer([-1]))

    def test_an_action_of_the_wrong_form(self) -> None:
        class Shapeless(Sequencer):
            def act(self, observation: Observation) -> Tensor:
                return torch.zeros(1)

        with pytest.raises(ValueError, match=r"int64 of shape \(60,\), got torch.float32"):
            lessons(Shapeless([0]))

    def test_an_action_that_is_not_allowed_now(self, monkeypatch: pytest.MonkeyPatch) -> None:
        population = certain_bandit()
        legal = torch.tensor([[True, False]])
        monkeypatch.setattr(
            type(population.student_model),
            "legal_actions",
            lambda self, state: legal.expand(len(next(iter(state.values()))), -1),
        )
        evaluate(Sequencer([0] * 4), population, TASK, n_students=2, seed=1)
        with pytest.raises(ValueError, match=r"illegal action, `.*video.*`, in lesson 0 at step 1"):
            evaluate(Sequencer([0, 1]), population, TASK, n_students=2, seed=1)


@pytest.mark.skipif(not CASES.exists(), reason="needs ../shared/cases")
def test_the_random_tutor_reaches_its_known_value() -> None:
    case = next(case for case in load_cases(CASES) if case.name == "style-bandit-a")
    population = case.population()
    tutor = RandomTutor(population.student_model)
    found = evaluate(tutor, population, case.task(), n_students=4000, seed=5)
    estimate = mean_interval(found.student_scores)
    # 15 * (0.8 + 3 * 0.25) / 4 = 5.8125
    assert case.values["random"] == pytest.approx(15 * (0.8 + 3 * 0.25) / 4)
    assert estimate.low < case.values["random"] < estimate.high
    assert estimate.high - estimate.low < 0.2


class TestResultsFile:
    def test_one_row_for_each_tutor_student_and_lesson(self, tmp_path: Path) -> None:
        one = lessons(Sequencer([0, 0, 0, 1], "one"))
        other = lessons(Sequencer([1] * 4, "other"), role=Role.LEARNED)
        path = tmp_path / "results.parquet"
        write_results(path, [one, other])
        table = read_results(path)
        assert table.num_rows == 2 * 60 * 2
        row = table.slice(3, 1).to_pylist()[0]  # second student, second lesson
        reader = one.types[1] == 0
        assert row == {
            "tutor": "one",
            "role": "baseline",
            "student": int(one.students[1]),
            "type": "reader" if reader else "viewer",
            "lesson": 2,
            "score": pytest.approx(3.0 if reader else 1.0),
            "post_test_start": 0.0,
            "post_test_end": pytest.approx(0.75 if reader else 0.25),
            "mastery_start": 0.0,
            "mastery_end": pytest.approx(0.75 if reader else 0.25),
            "training_seed": None,
        }
        scores = scores_by_tutor(table)
        assert list(scores) == ["one", "other"]
        np.testing.assert_array_equal(scores["one"], one.scores)
        np.testing.assert_array_equal(scores["other"], other.scores)

    def test_a_file_of_another_kind_is_refused_by_name(self, tmp_path: Path) -> None:
        path = tmp_path / "results.parquet"
        path.write_bytes(b"PAR1 not really")
        with pytest.raises(ValueError, match=r"results\.parquet: not a Parquet file"):
            read_results(path)

    def test_a_parquet_file_of_someone_else_is_refused(self, tmp_path: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        path = tmp_path / "other.parquet"
        parquet.write_table(pa.table({"a": [1]}), path)
        with pytest.raises(
            ValueError, match=r"other\.parquet: results must have `format` 1, got None"
        ):
            read_results(path)

    def test_nothing_to_write(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="at least one evaluation"):
            write_results(tmp_path / "results.parquet", [])
