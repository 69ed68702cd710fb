"""The class view: right about what was seen, and blind to what is hidden."""

from __future__ import annotations

import csv
import html.parser
import io
import math
from pathlib import Path

import pytest
import torch

from small_students import locked_bkt
from tutor_agents.best_fixed import BestFixedTutor, FixedSequence
from tutor_agents.random_tutor import RandomTutor
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask
from tutor_sim.experiment_files import load_population
from tutor_sim.insight.belief import Tracker
from tutor_sim.insight.class_page import class_csv, class_html, class_lines
from tutor_sim.insight.class_view import (
    LEARNED,
    NOT_TAUGHT,
    ON_THE_WAY,
    STUCK,
    answers_by_skill,
    practices_needed,
    report_class,
)
from tutor_sim.insight.trace import Seen, Trace, record
from tutor_sim.scaffold import new_student

TASK = TeachingTask(n_lessons=2, n_steps=8)


def class_of(ability: float | None, **latents: object) -> Population:
    """Students of this ability; None: weak and strong ones, as a teacher may meet them."""
    given: dict[str, object] = {"p_slip": 0.5, "p_guess": 0.5, **latents}
    types = {
        name: {"weight": 1, "latents": {"ability": value}}
        for name, value in (("weak", -2), ("strong", 2))
    }
    return Population.model_validate(
        {
            "name": "class",
            "student": "bkt",
            "model": {"n_skills": 2, "modalities": ["text", "video"]},
            "latents": given | ({} if ability is None else {"ability": ability}),
            "types": types if ability is None else {},
        }
    )


def taught(population: Population, n_students: int = 12) -> Trace:
    tutor = RandomTutor(population.student_model)
    return record(tutor, population, TASK, n_students=n_students, seed=2)


def prior(**latents: object) -> Tracker:
    return Tracker.of(class_of(None, **latents), seed=0, n_sampled=1)


# -- what it must not know ------------------------------------------------------------------------
def test_the_page_depends_on_what_was_seen_alone() -> None:
    """Answers at random (slip and guess are .5) are the same, whatever the students know."""
    weak, strong = taught(class_of(-2)), taught(class_of(2))
    assert torch.equal(weak.seen.actions, strong.seen.actions)
    assert torch.equal(weak.seen.responses, strong.seen.responses)
    known = [t.hidden.mastery_after[-1].mean().item() for t in (weak, strong)]
    assert known[1] - known[0] > 0.3  # the truth is another
    pages = [class_html(report_class(t.seen, prior()), "Class") for t in (weak, strong)]
    tables = [class_csv(report_class(t.seen, prior()).students) for t in (weak, strong)]
    assert pages[0] == pages[1]
    assert tables[0] == tables[1]
    assert pages[0] == class_html(report_class(weak.seen, prior()), "Class")


def test_what_was_seen_holds_no_truth() -> None:
    """By construction: everything in it is an action, an observation, or public."""
    seen = taught(class_of(-2)).seen
    assert set(vars(seen)) == {"model", "task", "actions", "observations"}
    assert all(type(o).__name__ == "Observation" for o in seen.observations)


class _Page(html.parser.HTMLParser):
    """Collects tags, links and headings of columns."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(f"{tag}.{name}", value) for name, value in attrs]


def test_the_page_stands_alone_and_can_be_read_aloud() -> None:
    text = class_html(report_class(taught(class_of(None)).seen, prior()), "Class <3")
    page = _Page(text)
    assert not {"script", "link", "iframe", "a"} & set(page.tags)
    assert "http" not in text
    assert "url(" not in text
    assert "@media print" in text
    assert ("html.lang", "en") in page.attributes
    assert page.tags.count("caption") == 3  # who needs you, gaps, at a glance
    scopes = [value for name, value in page.attributes if name == "th.scope"]
    assert len(scopes) == page.tags.count("th")
    assert page.tags.count("meter") == 12 * 2
    assert "Class &lt;3" in text
    for hidden in ("weak", "strong", "ability", "truth", "latent"):
        assert hidden not in text


# -- what it must get right -----------------------------------------------------------------------
def test_answers_are_counted_by_skill() -> None:
    seen = taught(class_of(None)).seen
    model = seen.model
    attempts, correct, streak = answers_by_skill(seen.actions, seen.responses, model)
    for i in range(seen.n_students):
        for k, skill in enumerate(model.skills):
            own = [
                int(response)
                for action, response in zip(
                    seen.actions[:, i].tolist(), seen.responses[:, i].tolist(), strict=True
                )
                if model.actions[action].skill == skill
            ]
            assert attempts[i, k] == len(own)
            assert correct[i, k] == sum(own)
            assert (
                streak[i, k] == len(own) - max((j for j, y in enumerate(own) if y), default=-1) - 1
            )


def test_no_response_is_no_attempt() -> None:
    model = locked_bkt().student_model
    actions = torch.zeros(3, 1, dtype=torch.int64)
    responses = torch.tensor([[0], [model.n_responses], [0]])
    attempts, correct, streak = answers_by_skill(actions, responses, model)
    assert (int(attempts[0, 0]), int(correct[0, 0]), int(streak[0, 0])) == (2, 0, 2)


def test_practices_are_those_of_a_constant_rate() -> None:
    """BKT with known rates and no forgetting: 1 - m shrinks by 1 - P(learn) with each practice."""
    p_learn, start = 0.2, 0.3
    needed = int(
        practices_needed(torch.tensor([start]), torch.tensor([start + (1 - start) * p_learn]))[0]
    )
    m = start
    for _ in range(needed - 1):
        m += (1 - m) * p_learn
    assert m < 0.95 <= m + (1 - m) * p_learn
    assert practices_needed(torch.tensor([0.96]), torch.tensor([0.97])).tolist() == [0]
    assert practices_needed(torch.tensor([0.5]), torch.tensor([0.5])).tolist() == [math.inf]
    assert practices_needed(torch.tensor([0.5]), torch.tensor([0.4])).tolist() == [math.inf]


def test_expected_mastery_after_a_practice_is_that_of_bkt() -> None:
    """One kind of student: m + (1 - m) P(learn), whatever is answered."""
    people = class_of(0, p_slip=0.1, p_guess=0.2, p_learn=0.3)
    tracker = Tracker.of(people, seed=0, n_sampled=1)
    tracker.follow(taught(people, 5).seen)
    before = tracker.posterior.mastery()
    after = tracker.mastery_after_practice(torch.zeros(5, dtype=torch.int64))
    expected = before.clone()
    expected[:, 0] += (1 - before[:, 0]) * 0.3
    torch.testing.assert_close(after, expected)
    torch.testing.assert_close(tracker.posterior.mastery(), before)  # only thought of


def test_a_new_topic_is_believed_anew_of_the_same_student() -> None:
    people = class_of(None, p_slip=0.1, p_guess=0.2)
    tracker = Tracker.of(people, seed=0, n_sampled=1)
    believed = tracker.follow(taught(people).seen)
    by_type = torch.sigmoid(torch.tensor([-2.0, 2.0]) + math.log(0.25 / 0.75))  # p_init is .25
    p_type = believed.traits["type"][8]
    expected = (p_type @ by_type.to(p_type)).unsqueeze(-1).expand(-1, 2)
    torch.testing.assert_close(believed.mastery_before[8].double(), expected, atol=1e-6, rtol=0)
    assert p_type.std() > 0.1  # what was learned of the student stays


def same_answers(actions: list[int], responses: list[int]) -> Seen:
    """One student who was taught and answered so."""
    people = class_of(None, p_slip=0.1, p_guess=0.2)
    task = TeachingTask(n_steps=len(actions))
    tutor = BestFixedTutor(FixedSequence(tuple(actions), 0.0))
    trace = record(tutor, people, task, n_students=1, seed=0)
    observations = [trace.seen.observations[0]]
    for t, (response, after) in enumerate(zip(responses, trace.seen.observations[1:], strict=True)):
        assert int(trace.seen.actions[t]) == actions[t]
        observations.append(after._replace(response=torch.tensor([response])))
    return Seen(trace.seen.model, task, trace.seen.actions, tuple(observations))


@pytest.mark.parametrize(("responses", "status"), [
    ([0, 0, 0], STUCK),
    ([1, 0, 0], ON_THE_WAY),
    ([1, 1, 1], LEARNED),
])  # fmt: skip
def test_status_follows_from_answers(responses: list[int], status: str) -> None:
    report = report_class(same_answers([0, 0, 0], responses), prior(p_slip=0.1, p_guess=0.2))
    (student,) = report.students
    assert [skill.status for skill in student.skills] == [status, NOT_TAUGHT]
    assert student.skills[0].correct == sum(responses)
    assert (student.stuck != ()) == (status == STUCK)
    assert student.next_skill is not None
    if status == LEARNED:
        assert student.next_skill.skill == "skill_1"
    lines = class_lines(report)
    assert f"stuck: {int(status == STUCK)} students" in lines
    text = class_html(report, "Class")
    assert ("Nobody is stuck." in text) == (status != STUCK)


def test_many_attempts_with_low_belief_are_stuck() -> None:
    report = report_class(
        same_answers([0] * 6, [0, 1, 0, 0, 1, 0]), prior(p_slip=0.01, p_guess=0.45, p_learn=0.01)
    )
    skill = report.students[0].skills[0]
    assert skill.wrong_in_a_row == 1
    assert skill.mastery < 0.5
    assert skill.status == STUCK


def test_a_class_that_knows_everything_needs_nothing() -> None:
    actions = [0, 2] * 5
    report = report_class(same_answers(actions, [1] * 10), prior(p_slip=0.1, p_guess=0.2))
    assert report.students[0].next_skill is None
    assert "nothing: all learned" in class_html(report, "Class")


def test_lessons_are_cut_where_they_end() -> None:
    """After lesson 1, nothing of lesson 2 is in the report."""
    trace = taught(class_of(None))
    first, both = trace.seen.lessons(1), trace.seen
    report = report_class(first, prior())
    assert (report.lesson, report.n_lessons) == (1, 2)
    attempts = sum(skill.attempts for s in report.students for skill in s.skills)
    assert attempts == 12 * 8
    assert report_class(both, prior()).lesson == 2
    tracker = prior()
    believed = tracker.follow(both).mastery_after[7]
    shown = [[skill.mastery for skill in student.skills] for student in report.students]
    torch.testing.assert_close(torch.tensor(shown, dtype=believed.dtype), believed)


def test_who_left_is_not_waited_for() -> None:
    people = locked_bkt(dropout={"hazard": 0.1})
    trace = record(RandomTutor(people.student_model), people, TASK, n_students=12, seed=0)
    tracker = Tracker.of(people, seed=0, n_sampled=8)
    report = report_class(trace.seen, tracker)
    present = trace.seen.observations[-1].present
    assert present is not None
    assert [student.left for student in report.students] == (~present).tolist()
    rows = list(csv.DictReader(io.StringIO(class_csv(report.students))))
    assert {row["left"] for row in rows} == {"true", "false"}
    assert class_html(report, "Class").count("No longer here.") == int((~present).sum())


def test_students_who_can_only_be_simulated_have_no_class_view(tmp_path: Path) -> None:
    new_student("slow", tmp_path, door=2)
    people = load_population(tmp_path / "slow.yaml")
    with pytest.raises(ValueError, match="can only be simulated: it has no belief"):
        Tracker.of(people, seed=0, n_sampled=8)
