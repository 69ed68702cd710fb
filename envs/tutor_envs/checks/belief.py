"""Rules of beliefs: what an observer expects is what happens, on average.

Under the model, the answers to random actions less their predicted probabilities have mean zero,
whatever the history (a martingale); so do true less believed mastery, and drawn less expected gain.
A mean further than five standard errors from zero (one run in two million by chance) is a mistake.
Approximate beliefs are allowed some bias.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tutor_envs.checks.case import Case, Complaint
from tutor_envs.population import Split, student_indices
from tutor_envs.student import Belief, Latents

_STUDENTS_PER_STUDENT = 16
"""Statistics need more students than the batches of other checks."""
_MAX_Z = 5.0
_ROUNDING = 1e-3
_BIAS = 0.05
"""Of an approximate belief."""


def belief(case: Case) -> Iterator[Complaint]:
    """Predictions, believed mastery and expected gains agree with simulation."""
    model = case.model
    if not model.is_functional:
        return
    students = student_indices(Split.TRAIN, _STUDENTS_PER_STUDENT * case.n_students)
    trace = case.simulate(students)
    latents, now = trace.latents, model.begin_belief(trace.latents)
    surprises, p_all = [], []
    for action, response in zip(trace.actions, trace.responses, strict=True):
        answered = response < model.n_responses
        p = model.predict(latents, now, action)
        if tuple(p.shape) != (len(students), model.n_responses):
            yield Complaint(
                f"`predict` must have the shape {(len(students), model.n_responses)}, "
                f"got {tuple(p.shape)}"
            )
            return
        if not _are_probabilities(p):
            yield Complaint("`predict` must be probabilities: in [0, 1], rows that sum to one")
            return
        given = response.clamp(max=model.n_responses - 1)
        happened = torch.nn.functional.one_hot(given, model.n_responses)
        surprises.append(((happened - p) * answered.unsqueeze(-1)).double())
        p_all.append(p.double())
        now = _kept(answered, model.update(latents, now, action, given), now)
    allowed = _ROUNDING if model.belief_is_exact else _BIAS
    yield from _predictions(torch.stack(surprises), torch.stack(p_all), allowed)
    believed = model.belief_mastery(latents, now)
    yield from _unbiased("`belief_mastery`", trace.mastery[-1] - believed, allowed)
    believed = model.belief_post_test(latents, now).unsqueeze(-1)
    yield from _unbiased("`belief_post_test`", trace.post_test[-1:].T - believed, allowed)
    if model.has_expected_gain and model.legal_actions(trace.states[0]) is None:
        yield from _gains(case, students, latents)


def _are_probabilities(p: Tensor) -> bool:
    inside = (p >= -_ROUNDING) & (p <= 1 + _ROUNDING)
    return bool((inside.all(-1) & ((p.sum(-1) - 1).abs() < _ROUNDING)).all())


def _kept(answered: Tensor, after: Belief, before: Belief) -> Belief:
    return {
        name: torch.where(answered.reshape(-1, *[1] * (v.dim() - 1)), v, before[name])
        for name, v in after.items()
    }


def _predictions(surprise: Tensor, p: Tensor, allowed: float) -> Iterator[Complaint]:
    """``(T, n, R)`` each: overall, by step, and where the prediction is low, middling or high."""
    groups = {"in all": torch.ones_like(p, dtype=torch.bool)}
    for step in range(len(p)):
        groups[f"at step {step}"] = torch.zeros_like(groups["in all"])
        groups[f"at step {step}"][step] = True
    for low, high in ((0.0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1.0)):
        groups[f"where it is {low:.2f} to {high:.2f}"] = (p >= low) & (p <= high)
    for where, chosen in groups.items():
        for response in range(p.shape[-1]):
            mine = chosen[..., response]
            n = int(mine.sum())
            if n == 0:
                continue
            mean = float(surprise[..., response][mine].mean())
            share = p[..., response][mine].clamp(0, 1)
            error = float((share * (1 - share)).sum().clamp(min=1e-9).sqrt()) / n
            if abs(mean) > _MAX_Z * error + (0 if allowed == _ROUNDING else allowed) + 1e-6:
                yield Complaint(
                    f"`predict` says {float(share.mean()):.3f} for response {response} {where}, "
                    f"but simulation gives {float(share.mean()) + mean:.3f}: `step` and "
                    "`predict`/`update` must follow the same equations"
                )
                return


def _unbiased(what: str, difference: Tensor, allowed: float) -> Iterator[Complaint]:
    """``(n, K)`` differences between truth and belief."""
    difference = difference.double()
    mean = difference.mean(0)
    error = difference.std(0) / len(difference) ** 0.5
    wrong = mean.abs() > _MAX_Z * error + allowed
    if bool(wrong.any()):
        skill = int(wrong.nonzero()[0, 0])
        yield Complaint(
            f"{what} is wrong by {-float(mean[skill]):+.3f} on average (entry {skill}): `update` "
            "must follow what `step` does to the state"
        )


def _gains(case: Case, students: Tensor, latents: Latents) -> Iterator[Complaint]:
    """Drawn less expected changes of the score."""
    model = case.model
    state = case.begin(students, latents)
    drawn, expected = [], []
    for step in range(case.n_steps):
        action = case.action(students, step, None)
        expected.append(model.expected_gain(latents, state, action))
        before = model.post_test(latents, state)
        state, _ = model.step(latents, state, action, case.luck(students, step))
        drawn.append(model.post_test(latents, state) - before)
    difference = (torch.stack(drawn) - torch.stack(expected)).sum(0).double()
    mean, error = float(difference.mean()), float(difference.std()) / len(difference) ** 0.5
    if abs(mean) > _MAX_Z * error + _ROUNDING:
        yield Complaint(
            f"`expected_gain` is wrong by {-mean:+.4f} a lesson on average: it must be the mean of "
            "`post_test` after `step` less `post_test` before, or let `has_expected_gain` be False"
        )
