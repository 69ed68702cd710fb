"""What an observer who knows the student can tell of the next answer, for each shipped population.

    python experiments/populations.py             # all, about half a minute
    python experiments/populations.py fsrs tms    # some

Prints a row for each: AUC of the next answer under random teaching (three lessons of 15 actions,
1,000 test students) given latents and true state, and given latents and all answers so far; the
share of right answers; the mean post-test score. docs/populations.md holds the table.
"""

from __future__ import annotations

import sys

import torch

from tutor_envs.classroom import Classroom
from tutor_envs.population import Split, student_indices
from tutor_envs.population_files import POPULATIONS, default_population
from tutor_envs.student import CORRECT
from tutor_envs.task import TeachingTask
from tutor_sim.tracing import auc

N_STUDENTS = 1000
TASK = TeachingTask(n_lessons=3, n_steps=15)


def row(name: str) -> str:
    """The population's row of the table."""
    room = Classroom(default_population(name), TASK)
    room.begin_trial(student_indices(Split.TEST, N_STUDENTS))
    model, luck = room.model, torch.Generator().manual_seed(0)
    belief = model.begin_belief(room.truth.latents)
    from_state, from_answers, right, scores = [], [], [], []
    for _ in range(TASK.n_trial_steps):
        truth = room.truth
        action = torch.randint(model.n_actions, (N_STUDENTS,), generator=luck)
        from_state.append(model.answer(truth.latents, truth.state, action)[:, CORRECT])
        from_answers.append(model.predict(truth.latents, belief, action)[:, CORRECT])
        outcome = room.step(action)
        right.append(outcome.observation.response == CORRECT)
        belief = model.update(truth.latents, belief, action, outcome.observation.response)
        if outcome.lesson_ended:
            scores.append(outcome.truth.post_test.mean())
            belief = model.begin_belief(truth.latents)
    answers = torch.cat(right).double().numpy()
    known, told = (auc(torch.cat(p).double().numpy(), answers) for p in (from_state, from_answers))
    score = torch.stack(scores).mean().item()
    return f"| `{name}` | {known:.2f} | {told:.2f} | {answers.mean():.2f} | {score:.2f} |"


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[1:] or POPULATIONS:
        print(row(name), flush=True)  # noqa: T201
