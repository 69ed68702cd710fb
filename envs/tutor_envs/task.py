"""The teaching task: how long a trial is and what counts as success.

A *trial* is ``n_lessons`` lessons of ``n_steps`` teaching actions with the same student. The score
of a lesson is one of:

===================  ==========================================================================
``post_test``        expected post-test score at the end of the lesson
``mastery_gain``     mean mastery at the end of the lesson, less that at its start
``mean_recall``      mean mastery, averaged over the lesson's steps (after each action)
``time_to_mastery``  minus the share of the lesson's steps taken with mean mastery below
                     ``mastery_threshold``
===================  ==========================================================================

``when: end`` pays the score with the lesson's last action. ``when: step`` pays the same score in
parts as it arises (for a post-test, the change of the score by each action): the sum over a lesson
is the same to rounding, and learning is easier (potential-based shaping: Ng, Harada & Russell
1999, ICML).
``expected: true`` pays the *expected* change of the post-test by the action instead of the drawn
one: the same expectation with less noise.

What an action costs (:attr:`tutor_envs.student.StudentModel.action_costs`) is taken off the score
and off the reward for that action. A student who leaves is scored, and paid for, on leaving;
lessons of the trial that then do not take place score 0.

Rewards may use the hidden state. They are not shown to tutors unless ``show_score`` is set: then
the score of a finished lesson is an observation, as if the student's test result were handed over.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tutor_envs.rng import MAX_STEPS


class Reward(BaseModel):
    """What training maximises."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    score: Literal["post_test", "mastery_gain", "mean_recall", "time_to_mastery"] = "post_test"
    when: Literal["step", "end"] = "end"
    expected: bool = Field(False, description="pay expected instead of drawn changes (post_test)")
    scale: float = Field(1.0, gt=0, description="factor on every reward")
    mastery_threshold: float = Field(0.95, gt=0, le=1, description="for time_to_mastery")

    @model_validator(mode="after")
    def _check(self) -> Reward:
        if self.expected and (self.score != "post_test" or self.when != "step"):
            raise ValueError(
                "`expected` needs `score: post_test` and `when: step`, "
                f"got `score: {self.score}` and `when: {self.when}`"
            )
        return self


class TeachingTask(BaseModel):
    """K lessons of T teaching actions, and their reward."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    n_lessons: int = Field(1, ge=1, le=MAX_STEPS, description="lessons in a trial")
    n_steps: int = Field(20, ge=1, le=MAX_STEPS, description="teaching actions in a lesson")
    reward: Reward = Reward()
    show_score: bool = Field(False, description="the score of a finished lesson is observable")

    @property
    def n_trial_steps(self) -> int:
        """Teaching actions in a trial."""
        return self.n_lessons * self.n_steps
