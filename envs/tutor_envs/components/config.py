"""What a population may say about components: typed, with defaults from real learners.

Sources of the defaults are named at the fields; "ours" is a choice of this project.
"""

from __future__ import annotations

import graphlib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tutor_envs.errors import unknown_name
from tutor_envs.student import StudentModel

Probability = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Fatigue(_Part):
    """``F' = max(0, carry F + effort e_a exp(-endurance))``; a rest: ``max(0, carry F - rest)``.

    ``e_a`` is the activity's ``effort``. F is 0 when a lesson or a session begins. All ours.
    """

    carry: Probability = 0.97
    effort: NotNegative = 0.03
    rest: NotNegative = 0.3


class Engagement(_Part):
    """``E' = clip(E + on_answer (y - expected) - when_hard max(0, hard_below - m) - c F')``.

    y is 1 for a correct and 0 for a wrong answer (no answer: neither of the first two terms), m the
    mastery of the taught skill before the action, c ``per_fatigue``. E starts at the latent
    ``engagement_start``. All ours.
    """

    on_answer: NotNegative = 0.05
    expected: Probability = 0.6
    when_hard: NotNegative = 0.03
    hard_below: Probability = 0.3
    per_fatigue: NotNegative = 0.02


class Lapses(_Part):
    """With probability ``lapse`` (a latent) the student does not attend to an action."""


class Dropout(_Part):
    """The student leaves for good, in place of an action, with a probability that moves.

    It is ``sigmoid(logit(hazard) + dropout_tendency + per_fatigue F + per_disengagement (1 - E)
    + per_wrong min(wrong answers in a row, max_streak))``. Learners end a session with hazard .025
    per item, 1.5 to 2.2 times more likely after a wrong answer, and up to 3 times after a run of
    them (algebra05, assist17); with a third of the answers wrong the defaults give .026 and 1.9.
    ``per_fatigue`` and ``per_disengagement`` are ours.
    """

    hazard: Annotated[float, Field(gt=0, lt=1)] = 0.02
    per_fatigue: NotNegative = 0.5
    per_disengagement: NotNegative = 1.0
    per_wrong: NotNegative = 0.4
    max_streak: int = Field(3, ge=0)


class ResponseTime(_Part):
    """``log seconds = log_mean + pace + wrong_minus_correct [wrong] + log_sd N(0, 1)``.

    Observable as the signal ``log_seconds`` (0 without an answer). Five real sets: SD .44 to .80,
    between learners .2 (the latent ``pace``), wrong answers slower by .15 to .38; means 1.9 to 4.0.
    """

    log_mean: float = 2.5
    log_sd: NotNegative = 0.55
    wrong_minus_correct: float = 0.3


class Schedule(_Part):
    """Sessions of ``steps_per_session`` actions with ``gap_days`` between; ``budget_s`` a lesson.

    A gap lets the student forget and takes all fatigue away. Once the activities' seconds add up to
    the budget, the lesson is over for this student.
    """

    steps_per_session: int | None = Field(None, ge=1)
    gap_days: NotNegative = 1.0
    budget_s: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Schedule:
        if self.steps_per_session is None and self.budget_s is None:
            raise ValueError("`schedule` needs `steps_per_session` or `budget_s`, got neither")
        return self


class Activity(_Part):
    """One kind of teaching.

    An attended action teaches what the base model teaches with probability
    ``learn_novice + (learn_expert - learn_novice) * mastery`` of the skill, else only time passes.
    """

    learn_novice: Probability = 1.0
    learn_expert: Probability = 1.0
    seconds: float | None = Field(None, gt=0, description="default: the base model's `step_s`")
    effort: NotNegative = 1.0


class Practice(Activity):
    """The base model's own action. Novices get little from it; see :class:`WorkedExample`."""

    learn_novice: Probability = 0.55


class Quiz(Activity):
    """A question without feedback, one for each skill: it shows what is known, teaches nothing."""

    learn_novice: Probability = 0.0
    learn_expert: Probability = 0.0


class WorkedExample(Activity):
    """A solved problem: taught as a practice with a correct answer, but no answer is seen.

    Examples help novices and stop helping experts (expertise reversal: Kalyuga, Ayres, Chandler &
    Sweller 2003, Educational Psychologist 38(1)). Sizes against practice: 1.8 for learners who
    began low and .7 for the others, in probability_prepost (+16.9 against +9.4, and about +2.6
    against +3.6 points; a direction, p = .14).
    """

    learn_expert: Probability = 0.7
    effort: NotNegative = 0.7


class Hint(Activity):
    """Practice with help, which turns a wrong answer into a correct one sometimes. Ours."""

    learn_novice: Probability = 0.8
    learn_expert: Probability = 0.8
    effort: NotNegative = 0.8
    help: Probability = 0.5


class Rest(_Part):
    """A break: time passes, fatigue goes down, engagement goes up. Ours."""

    seconds: float = Field(300.0, gt=0)
    engagement: NotNegative = 0.1


class Activities(_Part):
    """Which activities a tutor may choose; those not named are not there.

    There is no *review*: a practice of what was learned before is one, and what it does for
    retention is for the base model to say.
    """

    practice: Practice | None = None
    quiz: Quiz | None = None
    worked_example: WorkedExample | None = None
    hint: Hint | None = None
    rest: Rest | None = None

    @model_validator(mode="after")
    def _check(self) -> Activities:
        if not (self.practice or self.worked_example or self.hint):
            raise ValueError("`activities` needs `practice`, `worked_example` or `hint`, got none")
        return self


class Prerequisites(_Part):
    """A skill opens once each skill it requires was answered correctly ``n_correct`` times."""

    requires: dict[str, tuple[str, ...]] = Field(min_length=1)
    n_correct: int = Field(2, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Prerequisites:
        try:
            graphlib.TopologicalSorter(self.requires).prepare()
        except graphlib.CycleError as error:
            raise ValueError(
                f"`requires` must not form a cycle, got {' -> '.join(reversed(error.args[1]))}"
            ) from None
        return self


class Components(_Part):
    """Components of a population, added to its student model; those not named are not there."""

    fatigue: Fatigue | None = None
    engagement: Engagement | None = None
    lapses: Lapses | None = None
    dropout: Dropout | None = None
    response_time: ResponseTime | None = None
    schedule: Schedule | None = None
    activities: Activities | None = None
    prerequisites: Prerequisites | None = None
    costs: dict[str, NotNegative] = Field(
        default_factory=dict, description="activity -> what one such action takes off the score"
    )
    guess: Probability = Field(0.2, description="P(correct) of a student who does not attend")
    n_particles: int = Field(16, ge=2, description="of the belief, where components hide something")

    @model_validator(mode="after")
    def _check(self) -> Components:
        if self.fatigue and not (self.engagement or self.dropout):
            raise ValueError(
                "`fatigue` acts through `engagement` and `dropout`: give at least one of them"
            )
        return self

    @property
    def hide(self) -> bool:
        """Something happens that a tutor cannot see, even one who knows the latents."""
        activities = self.activities
        return bool(
            self.lapses
            or self.engagement
            or (activities and (activities.hint or not _sure(activities)))
        )

    def check_names(self, base: StudentModel, activities: tuple[str, ...]) -> None:
        """Check the names of skills and activities.

        Raises:
            ValueError: the base model has no such skill, or nothing is called so.
        """
        for activity in self.costs:
            if activity not in activities:
                raise ValueError(unknown_name("components.costs", activity, activities))
        requires = self.prerequisites.requires if self.prerequisites else {}
        for skill in [*requires, *(needed for row in requires.values() for needed in row)]:
            if skill not in base.skills:
                place = "components.prerequisites.requires"
                raise ValueError(unknown_name(place, skill, base.skills))


def _sure(activities: Activities) -> bool:
    """Every activity teaches always or never."""
    kinds = (activities.practice, activities.quiz, activities.worked_example)
    return all(k.learn_novice == k.learn_expert in (0.0, 1.0) for k in kinds if k)
