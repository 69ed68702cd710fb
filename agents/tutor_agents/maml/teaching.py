"""Teaching whole trials for training: every action drawn from each student's own policy."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from tutor_agents.engine.networks import Inputs
from tutor_agents.engine.privileged import Privileged
from tutor_agents.engine.rollout import Rollout, sample_action
from tutor_agents.maml.session import Session
from tutor_envs.classroom import Classroom, Observation
from tutor_envs.rng import Purpose, uniforms
from tutor_envs.student import StudentModel


@torch.no_grad()
def teach_trials(
    classroom: Classroom, session: Session, students: Tensor, privileged: Privileged
) -> Rollout:
    """One trial with each student; luck, the policy's too, follows from seed and student.

    Args:
        classroom: where the students are taught.
        session: chooses, and adapts between lessons.
        students: int64 ``(N,)`` indices.
        privileged: standardises what is hidden.
    """
    observation = classroom.begin_trial(students)
    truth = classroom.truth
    latents, types = privileged.latents(truth), truth.latents["type"]
    steps: dict[str, list[Tensor]] = defaultdict(list)
    for _ in range(classroom.task.n_trial_steps):
        logp = torch.log_softmax(session.logits(observation), dim=-1)
        u = uniforms(
            classroom.seed,
            students,
            purpose=Purpose.TUTOR,
            n_lanes=1,
            lesson=observation.lesson,
            step=observation.step,
        )
        action = sample_action(logp, u)
        for name, value in _seen(observation, classroom.model).items():
            steps[name].append(value)
        steps["features"].append(privileged.features(classroom.truth))
        steps["action"].append(action)
        steps["logp"].append(logp.gather(-1, action.unsqueeze(-1)).squeeze(-1))
        outcome = classroom.step(action)
        observation = outcome.observation
        session.observe(action, observation)
        steps["response"].append(observation.response)
        steps["reward"].append(outcome.reward)
    columns = {name: torch.stack(values) for name, values in steps.items()}
    inputs = Inputs(columns.pop("token"), columns.pop("score", None), columns.pop("signals", None))
    legal, present = columns.pop("legal", None), columns.pop("present", None)
    return Rollout(
        inputs=inputs, legal=legal, present=present, latents=latents, types=types, **columns
    )


def _seen(observation: Observation, model: StudentModel) -> dict[str, Tensor]:
    begins = observation.action == model.n_actions
    code = torch.where(begins, 0, observation.response)
    optional = {
        "token": observation.action * (model.n_responses + 1) + code,
        "score": observation.score,
        "signals": observation.signals,
        "legal": observation.legal,
        "present": observation.present,
    }
    return {name: value for name, value in optional.items() if value is not None}
