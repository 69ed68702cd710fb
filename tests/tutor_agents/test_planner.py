"""The exact planner against numbers worked by hand, and its laws."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_agents.planner import BayesTutor, ExactPlanner
from tutor_agents.tutor import Trial, Tutor
from tutor_envs.classroom import Classroom
from tutor_envs.population import Population, Split, student_indices
from tutor_envs.task import Reward, TeachingTask


def bandit(
    p: list[list[float]], slip: float = 0.0, guess: float = 0.0, prior: list[float] | None = None
) -> Population:
    """Style-bandit types by their probabilities of a learning event; post-test = events / 4."""
    prior = prior or [1 / len(p)] * len(p)
    return Population.model_validate(
        {
            "name": "bandit",
            "student": "style_bandit",
            "model": {"modalities": [f"m{i}" for i in range(len(p[0]))], "n_units": 4},
            "latents": {"style_strength": 1.0, "p_slip": slip, "p_guess": guess},
            "types": {
                f"t{z}": {
                    "weight": weight,
                    "latents": {
                        "p_event": sum(row) / len(row),
                        "responsiveness": [x / sum(row) for x in row],
                    },
                }
                for z, (weight, row) in enumerate(zip(prior, p, strict=True))
            },
        }
    )


def events(n_steps: int) -> TeachingTask:
    """The return is the number of learning events."""
    return TeachingTask(n_steps=n_steps, reward=Reward(scale=4.0))


def bkt(**latents: object) -> dict[str, object]:
    return {"weight": 1.0, "latents": latents}


BKT_TWO_TYPES = Population.model_validate(
    {
        "name": "two types",
        "student": "bkt",
        "model": {"n_skills": 2, "modalities": ["a", "b"]},
        "types": {
            "by a": bkt(
                p_learn=[[0.6, 0.1], [0.5, 0.1]], p_slip=0.1, p_guess=0.2, p_init=[0.1, 0.3]
            ),
            "by b": bkt(
                p_learn=[[0.1, 0.6], [0.1, 0.5]], p_slip=0.2, p_guess=0.1, p_init=[0.2, 0.1]
            ),
        },
    }
)


# -- by hand --------------------------------------------------------------------------------------
def test_answers_that_reveal_the_type_are_worth_a_half() -> None:
    # Two types, each learning always by its own modality and never by the other; perfect quiz.
    # The first practice hits with 1/2 and reveals the type; every later one hits.
    planner = ExactPlanner.of(bandit([[1, 1e-12], [1e-12, 1]]), events(3))
    assert planner.bayes() == pytest.approx(0.5 + 1 + 1, abs=1e-9)
    assert planner.thompson() == pytest.approx(0.5 + 1 + 1, abs=1e-9)
    assert planner.random() == pytest.approx(3 * 0.5, abs=1e-9)
    assert planner.sequence([0, 0, 1]) == pytest.approx(3 * 0.5, abs=1e-9)
    assert planner.best_sequence()[0] == pytest.approx(3 * 0.5, abs=1e-9)
    assert planner.oracle_per_type() == pytest.approx([3.0, 3.0], abs=1e-9)


def test_two_noisy_steps_by_hand() -> None:
    # P(right | event) = .9, P(right | none) = .2.  Modality 0: type 0 answers right with
    # .8*.9 + .2*.2 = .76, type 1 with .3*.9 + .7*.2 = .41.
    right = max(0.76 * 0.8 + 0.41 * 0.3, 0.76 * 0.3 + 0.41 * 0.8) / 2  # stay: .3655
    wrong = max(0.24 * 0.8 + 0.59 * 0.3, 0.24 * 0.3 + 0.59 * 0.8) / 2  # switch: .272
    planner = ExactPlanner.of(bandit([[0.8, 0.3], [0.3, 0.8]], slip=0.1, guess=0.2), events(2))
    assert planner.bayes() == pytest.approx(0.55 + right + wrong, abs=1e-12)
    assert planner.lookahead(1).value == pytest.approx(0.55 + 0.3655 + 0.272, abs=1e-12)
    # Posterior sampling: after "right" type 0 is drawn with .76 / (.76 + .41).
    mixed = 0.0
    for like in ((0.76, 0.41), (0.24, 0.59)):
        stay, switch = like[0] * 0.8 + like[1] * 0.3, like[0] * 0.3 + like[1] * 0.8
        mixed += (like[0] * stay + like[1] * switch) / sum(like) / 2
    assert planner.thompson() == pytest.approx(0.55 + mixed, abs=1e-12)


def test_one_skill_that_is_learned_in_one_practice() -> None:
    # learn 1, guess 0, slip 0, start 0: after t practices of one of two skills it is mastered.
    types = {"only": bkt(p_learn=[[1.0], [1.0]], p_slip=0.0, p_guess=0.0, p_init=[0.0, 0.0])}
    population = Population.model_validate(
        {
            "name": "certain",
            "student": "bkt",
            "model": {"n_skills": 2, "modalities": ["text"]},
            "types": types,
        }
    )
    planner = ExactPlanner.of(population, TeachingTask(n_steps=2))
    assert planner.bayes() == planner.full_information() == pytest.approx(1.0)
    assert planner.best_sequence() == (pytest.approx(1.0), [0, 1])
    assert planner.sequence([0, 0]) == pytest.approx(0.5)
    assert planner.random() == pytest.approx(0.5 * 1.0 + 0.5 * 0.5)


def test_lessons_share_what_is_known_of_the_student() -> None:
    # As in the first test, twice one step: the second lesson knows the type.
    population = bandit([[1, 1e-12], [1e-12, 1]])
    task = TeachingTask(n_lessons=2, n_steps=1, reward=Reward(scale=4.0))
    assert ExactPlanner.of(population, task).bayes() == pytest.approx(0.5 + 1, abs=1e-9)


def test_a_tie_makes_a_range() -> None:
    # Three modalities; 0 and 1 tie in gain at first, but only 1 tells the types apart.
    p = [[0.5, 0.9, 0.1], [0.5, 0.1, 0.9]]
    myopic = ExactPlanner.of(bandit(p), events(2)).lookahead(1)
    assert myopic.value == pytest.approx(0.5 + 0.5)  # modality 0: nothing is learned of the type
    assert myopic.low == pytest.approx(0.5 + 0.5)
    assert myopic.high == pytest.approx(0.5 + 0.9 * 0.9 + 0.1 * 0.1)


# -- teaching -------------------------------------------------------------------------------------
def taught(tutor: Tutor, population: Population, task: TeachingTask, n: int) -> torch.Tensor:
    """Returns of n test students, ``(n,)``."""
    classroom = Classroom(population, task, seed=5)
    students = student_indices(Split.TEST, n)
    observation = classroom.begin_trial(students)
    tutor.begin_trial(Trial(students, 5, 0))
    total = torch.zeros(n, dtype=torch.float64)
    for _ in range(task.n_trial_steps):
        action = tutor.act(observation)
        outcome = classroom.step(action)
        observation = outcome.observation
        tutor.observe(action, observation)
        total += outcome.reward
    return total


@pytest.mark.parametrize(
    ("population", "task"),
    [
        (BKT_TWO_TYPES, TeachingTask(n_steps=5)),
        (BKT_TWO_TYPES, TeachingTask(n_steps=3, n_lessons=2)),
        (BKT_TWO_TYPES, TeachingTask(n_steps=4, reward=Reward(score="mean_recall"))),
        (BKT_TWO_TYPES, TeachingTask(n_steps=4, reward=Reward(score="mastery_gain"))),
        (bandit([[0.8, 0.3], [0.3, 0.8]], slip=0.1, guess=0.2), events(4)),
    ],
    ids=["bkt", "lessons", "mean_recall", "mastery_gain", "bandit"],
)
def test_the_tutor_earns_its_value(population: Population, task: TeachingTask) -> None:
    tutor = BayesTutor(population, task)
    n = 30_000
    returns = taught(tutor, population, task, n)
    margin = 4 * float(returns.std()) / n**0.5
    assert float(returns.mean()) == pytest.approx(tutor.value, abs=margin)


def test_actions_do_not_depend_on_the_batch() -> None:
    task = TeachingTask(n_steps=5)
    tutor = BayesTutor(BKT_TWO_TYPES, task)
    many, few = (taught(tutor, BKT_TWO_TYPES, task, n) for n in (50, 7))
    assert torch.equal(many[:7], few)


def test_other_actions_than_planned_are_refused() -> None:
    task = TeachingTask(n_steps=3)
    tutor = BayesTutor(BKT_TWO_TYPES, task)
    classroom = Classroom(BKT_TWO_TYPES, task)
    students = student_indices(Split.TEST, 2)
    observation = classroom.begin_trial(students)
    tutor.begin_trial(Trial(students, 0, 0))
    other = (tutor.act(observation) + 1) % classroom.model.n_actions
    with pytest.raises(ValueError, match="covers only its own actions"):
        tutor.observe(other, classroom.step(other).observation)


def test_an_answer_that_no_student_gives_is_taken_for_the_likeliest() -> None:
    # Modality 0 always works and the quiz never errs: "wrong" is impossible.
    step = ExactPlanner.of(bandit([[1.0, 0.2]]), events(3)).plan()[0]
    assert step.action.tolist() == [0]
    assert step.child[0, 0] == step.child[0, 1]
    # The same for two such types, at every step.
    for step in ExactPlanner.of(bandit([[1.0, 0.2], [1.0, 0.2]]), events(3)).plan()[:-1]:
        assert torch.equal(step.child[:, 0], step.child[:, 1])


def test_the_plan_is_worth_what_the_planner_says() -> None:
    for population, task in (
        (BKT_TWO_TYPES, TeachingTask(n_steps=4)),
        (BKT_TWO_TYPES, TeachingTask(n_steps=2, n_lessons=3)),
        (bandit([[0.8, 0.3], [0.3, 0.8]], slip=0.1, guess=0.2), events(4)),
    ):
        planner = ExactPlanner.of(population, task)
        assert planner.taught_by(planner.plan()) == pytest.approx(planner.bayes(), abs=1e-12)


# -- laws -----------------------------------------------------------------------------------------
rates = st.floats(0.02, 0.98)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(rates, min_size=3, max_size=3), min_size=2, max_size=3),
    st.floats(0, 0.4),
    st.floats(0, 0.4),
    st.randoms(use_true_random=False),
)
def test_order_of_values_and_symmetry(
    p: list[list[float]], slip: float, guess: float, random: object
) -> None:
    planner = ExactPlanner.of(bandit(p, slip, guess), events(4))
    best = planner.bayes()
    lesser = [
        planner.lookahead(1).high,
        planner.lookahead(2).high,
        planner.thompson_range()[1],
        planner.random(),
        planner.best_sequence()[0],
    ]
    assert max(lesser) <= best + 1e-9
    assert best <= planner.oracle() + 1e-9
    assert planner.lookahead(4).value == pytest.approx(best, abs=1e-9)
    swapped = [[row[i] for i in (2, 0, 1)] for row in reversed(p)]
    assert ExactPlanner.of(bandit(swapped, slip, guess), events(4)).bayes() == pytest.approx(best)


def test_a_single_type_is_known_from_the_start() -> None:
    planner = ExactPlanner.of(bandit([[0.2, 0.7]]), events(3))
    assert planner.bayes() == pytest.approx(3 * 0.7)
    assert planner.oracle() == pytest.approx(3 * 0.7)


def test_a_lesson_of_one_step() -> None:
    planner = ExactPlanner.of(BKT_TWO_TYPES, TeachingTask(n_steps=1))
    # Start: mean mastery (.1 + .3 + .2 + .1) / 4 = .175. Skill 0 by a: .6 (1 - .1) and
    # .1 (1 - .2), mean .31, half of it counts; by b: (.1 .9 + .6 .8) / 2 = .285; skill 1 by b:
    # (.1 .7 + .5 .9) / 2 = .26.
    assert planner.bayes() == pytest.approx(0.175 + 0.31 / 2)
    assert planner.lookahead(1).value == pytest.approx(0.175 + 0.31 / 2)
    assert planner.best_sequence() == (pytest.approx(0.175 + 0.31 / 2), [0])
    assert planner.taught_by(planner.plan()) == pytest.approx(0.175 + 0.31 / 2)


# -- refusals -------------------------------------------------------------------------------------
def test_a_family_that_is_too_big_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs about .* GiB, more than `max_bytes`"):
        ExactPlanner.of(BKT_TWO_TYPES, TeachingTask(n_steps=30), max_bytes=2**20).bayes()


def test_a_continuous_population_is_refused() -> None:
    population = Population.model_validate(
        {"name": "many", "student": "bkt", "latents": {"ability": {"normal": {"mean": 0}}}}
    )
    with pytest.raises(ValueError, match="continuous latents"):
        BayesTutor(population, TeachingTask(n_steps=2))


def test_scores_that_do_not_telescope_are_refused() -> None:
    task = TeachingTask(n_steps=2, reward=Reward(score="time_to_mastery"))
    with pytest.raises(ValueError, match=r"reward.score: time_to_mastery"):
        ExactPlanner.of(BKT_TWO_TYPES, task)


def test_a_shown_score_is_refused() -> None:
    task = TeachingTask(n_steps=2, n_lessons=2, show_score=True)
    with pytest.raises(ValueError, match="show_score"):
        ExactPlanner.of(BKT_TWO_TYPES, task)


def test_wrong_arguments_are_refused() -> None:
    planner = ExactPlanner.of(BKT_TWO_TYPES, TeachingTask(n_steps=2))
    with pytest.raises(ValueError, match=r"`actions` must be 2 indices in \[0, 3\], got \[0, 4\]"):
        planner.sequence([0, 4])
    with pytest.raises(ValueError, match="`depth` must be >= 1, got 0"):
        planner.lookahead(0)
