"""The Box of a Gymnasium space from the classroom's compact observation.

Every entry is observable: what was taught, what came back, and the clock. One student's vector is

==================  =====  ======================================================================
slice               size   content
==================  =====  ======================================================================
``action``          A      one-hot of the previous teaching action; zeros at the start of a trial
``response``        R      one-hot of the response to it; zeros if there was none
``correct``         1      1 if that response was a correct answer
``valid``           1      1 if the previous action was allowed and reached the student
``progress``        1      share of the lesson's teaching actions that are taken, in [0, 1)
``lesson``          1      share of the trial's lessons that are finished, in [0, 1]
``lesson_start``    1      1 if the next action opens a lesson
``trial_start``     1      1 if the next action opens the trial
``score``           0, 1   score of the lesson that just ended, else 0; only with ``show_score``
``signals``         S      what the student model shows beside the response, clipped to [-10, 10]
==================  =====  ======================================================================
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tutor_envs.classroom import Observation
from tutor_envs.student import CORRECT, StudentModel
from tutor_envs.task import TeachingTask
from tutor_envs.teaching_step import SIGNAL_LIMIT


class ObservationLayout(NamedTuple):
    """Where each signal lies in the observation vector; ``observation[..., layout.correct]``."""

    action: slice
    response: slice
    correct: slice
    valid: slice
    progress: slice
    lesson: slice
    lesson_start: slice
    trial_start: slice
    score: slice
    signals: slice

    @property
    def size(self) -> int:
        """Entries of the vector."""
        return int(self.signals.stop)


def observation_layout(model: StudentModel, task: TeachingTask) -> ObservationLayout:
    """The layout for a student model and a task; ``score`` is empty unless it is shown."""
    shown = (int(task.show_score), len(model.signal_names))
    sizes = (model.n_actions, model.n_responses, 1, 1, 1, 1, 1, 1, *shown)
    stops = np.cumsum(sizes).tolist()
    return ObservationLayout(
        *(slice(stop - size, stop) for stop, size in zip(stops, sizes, strict=True))
    )


def observation_space(layout: ObservationLayout) -> spaces.Space[NDArray[np.float32]]:
    """Entries in [0, 1]; a score in [-1, 1], signals in [-10, 10]."""
    low, high = np.zeros((2, layout.size), dtype=np.float32)
    high[:] = 1
    low[layout.score] = -1
    low[layout.signals], high[layout.signals] = -SIGNAL_LIMIT, SIGNAL_LIMIT
    return spaces.Box(low, high)


def observation_vector(
    observation: Observation, layout: ObservationLayout, task: TeachingTask
) -> Tensor:
    """Write compact observations of n students as vectors.

    Args:
        observation: of n students.
        layout: of their student model and task.
        task: what they are taught in.

    Returns:
        float32 ``(n, layout.size)``.
    """
    action, response = observation.action, observation.response
    n_actions = layout.action.stop - layout.action.start
    n_responses = layout.response.stop - layout.response.start
    vector = torch.zeros(len(action), layout.size, device=action.device)
    vector[:, layout.action] = functional.one_hot(action, n_actions + 1)[:, :-1].float()
    vector[:, layout.response] = functional.one_hot(response, n_responses + 1)[:, :-1].float()
    vector[:, layout.correct] = (response == CORRECT).float().unsqueeze(-1)
    vector[:, layout.valid] = (response < n_responses).float().unsqueeze(-1)
    vector[:, layout.progress] = observation.step / task.n_steps
    vector[:, layout.lesson] = observation.lesson / task.n_lessons
    opens_lesson = observation.step == 0 and observation.lesson < task.n_lessons
    vector[:, layout.lesson_start] = float(opens_lesson)
    vector[:, layout.trial_start] = float(opens_lesson and observation.lesson == 0)
    if observation.score is not None:
        vector[:, layout.score] = observation.score.float().clamp(-1, 1).unsqueeze(-1)
    if observation.signals is not None:
        vector[:, layout.signals] = observation.signals.float()
    return vector
