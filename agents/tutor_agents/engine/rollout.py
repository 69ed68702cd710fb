"""Rollouts: whole trials with new students, recorded time-major."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tutor_agents.engine.networks import Inputs, Policy
from tutor_agents.engine.ppo import masked_logits
from tutor_agents.engine.privileged import Privileged
from tutor_envs.classroom import Classroom
from tutor_envs.rng import Purpose, uniforms


@dataclasses.dataclass(frozen=True)
class Rollout:
    """A batch of whole trials, time-major: T steps, N trials."""

    inputs: Inputs  # (T, N)
    legal: Tensor | None  # (T, N, A)
    present: Tensor | None  # (T, N) bool: not left before the action; None: nobody leaves
    action: Tensor  # (T, N) int64
    response: Tensor  # (T, N) int64, to the action
    logp: Tensor  # (T, N) of the action, under the policy that took it
    reward: Tensor  # (T, N)
    features: Tensor  # (T, N, F) privileged; F = 0 where nobody asked for them
    latents: Tensor  # (N, L) privileged
    types: Tensor  # (N,) privileged

    def trials(self, index: Tensor) -> Rollout:
        """The trials with these indices."""
        return self.each(lambda value, axis: value.index_select(axis, index))

    def each(self, change: Callable[[Tensor, int], Tensor]) -> Rollout:
        """The same with every tensor changed; ``change`` is told the axis of the trials, too."""

        def steps(value: Tensor | None) -> Any:
            return None if value is None else change(value, 1)

        return Rollout(
            inputs=Inputs(*map(steps, self.inputs)),
            legal=steps(self.legal),
            present=steps(self.present),
            action=steps(self.action),
            response=steps(self.response),
            logp=steps(self.logp),
            reward=steps(self.reward),
            features=steps(self.features),
            latents=change(self.latents, 0),
            types=change(self.types, 0),
        )


@torch.no_grad()
def roll_out(
    classroom: Classroom,
    policy: Policy,
    students: Tensor,
    privileged: Privileged,
    *,
    with_features: bool,
    trial: int = 0,
) -> Rollout:
    """Teach whole trials, each action drawn from the policy.

    Luck, the policy's too, is a function of the classroom's seed, the students and the trial.

    Args:
        classroom: where the students are taught.
        policy: acts.
        students: int64 ``(N,)`` indices.
        privileged: standardises what is hidden.
        with_features: record the hidden situation before each action, for a critic.
        trial: which trial with these students.
    """
    observation = classroom.begin_trial(students, trial)
    truth = classroom.truth
    latents, types = privileged.latents(truth), truth.latents["type"]
    state = policy.begin(len(students))
    steps: dict[str, list[Tensor]] = defaultdict(list)
    lesson_steps = torch.arange(classroom.task.n_steps, device=students.device).unsqueeze(-1)
    for t in range(classroom.task.n_trial_steps):
        inputs = policy.encode(observation)
        _, logits, state = policy.step(inputs, t, state)
        logp = torch.log_softmax(masked_logits(logits, observation.legal), dim=-1)
        if observation.step == 0:
            u = uniforms(
                classroom.seed,
                students,
                purpose=Purpose.TUTOR,
                n_lanes=1,
                trial=trial,
                lesson=observation.lesson,
                step=lesson_steps,
            )
        action = sample_action(logp, u[observation.step])
        optional = {**inputs._asdict(), "legal": observation.legal, "present": observation.present}
        for name, value in optional.items():
            if value is not None:
                steps[name].append(value)
        if with_features:
            steps["features"].append(privileged.features(classroom.truth))
        steps["action"].append(action)
        steps["logp"].append(logp.gather(-1, action.unsqueeze(-1)).squeeze(-1))
        outcome = classroom.step(action)
        steps["response"].append(outcome.observation.response)
        steps["reward"].append(outcome.reward)
        observation = outcome.observation
    columns = {name: torch.stack(values) for name, values in steps.items()}
    n_steps, n_trials = columns["action"].shape
    return Rollout(
        inputs=Inputs(columns["token"], columns.get("score"), columns.get("signals")),
        legal=columns.get("legal"),
        present=columns.get("present"),
        action=columns["action"],
        response=columns["response"],
        logp=columns["logp"],
        reward=columns["reward"],
        features=columns.get("features", logp.new_empty(n_steps, n_trials, 0)),
        latents=latents,
        types=types,
    )


def sample_action(logp: Tensor, u: Tensor) -> Tensor:
    """One action for each student, by the inverse CDF.

    Args:
        logp: ``(N, A)`` log-probabilities; impossible actions have probability zero.
        u: ``(N, 1)`` uniforms in [0, 1).

    Returns:
        int64 ``(N,)``; never an impossible action, whatever the rounding.
    """
    cumulative = logp.exp().cumsum(-1)
    # Less than the last sum, however it was rounded: the sum first exceeds it at a possible action.
    return (u * cumulative[:, -1:] >= cumulative).sum(-1)
