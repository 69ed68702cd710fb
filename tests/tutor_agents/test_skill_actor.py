"""The per-skill actor: steps and sequences agree, lessons begin afresh, skills are alike."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_agents.engine.networks import ActorShape, Inputs
from tutor_agents.engine.skill_actor import SkillActor, make_actor
from tutor_agents.memories.config import GRUConfig
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask

K, W, R = 3, 2, 2


def actor(n_lessons: int = 3, n_steps: int = 5, width: int = 12, *, distinct: bool) -> SkillActor:
    """With random weights; ``distinct``: what tells the skills apart is random too."""
    shape = ActorShape(
        n_actions=K * W,
        n_responses=R,
        n_lessons=n_lessons,
        n_steps=n_steps,
        show_score=False,
        hidden_size=width,
        skill_of_action=[a // W for a in range(K * W)],
        way_of_action=[a % W for a in range(K * W)],
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = make_actor(shape)
        assert isinstance(made, SkillActor)
        made.initialise()
        torch.nn.init.normal_(made.out.weight)  # a policy that is far from uniform
        if distinct:
            for parameter in (made.bias, made.skill.weight, made.event_skill.weight):
                torch.nn.init.normal_(parameter)
    return made.double()


def history(n_steps: int, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Actions and responses ``(T, n)``; the last response is sometimes "none"."""
    generator = torch.Generator().manual_seed(seed)
    action = torch.randint(K * W, (n_steps, n), generator=generator)
    return action, torch.randint(R + 1, (n_steps, n), generator=generator)


def inputs(action: torch.Tensor, response: torch.Tensor) -> Inputs:
    """What the actor is shown: at step t the pair of step t - 1."""
    token = action * (R + 1) + response
    first = torch.full_like(token[:1], K * W * (R + 1))
    return Inputs(torch.cat([first, token[:-1]]), None, None)


def stepwise(policy: SkillActor, given: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    state, hidden, logits = policy.begin(given.token.shape[1]), [], []
    for t, token in enumerate(given.token):
        h, at, state = policy.step(Inputs(token, None, None), t, state)
        hidden.append(h)
        logits.append(at)
    return torch.stack(hidden), torch.stack(logits)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), n_lessons=st.integers(1, 3), n_steps=st.integers(1, 6))
def test_steps_and_sequences_agree(seed, n_lessons, n_steps):
    policy = actor(n_lessons, n_steps, distinct=True)
    given = inputs(*history(n_lessons * n_steps, 4, seed))
    with torch.no_grad():
        for one, other in zip(stepwise(policy, given), policy.sequence(given), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_a_skill_is_forgotten_at_the_next_lesson_but_the_student_is_not():
    policy = actor(n_lessons=2, n_steps=4, distinct=False)
    action, response = history(8, 2, seed=3)
    action[:, 1], response[:, 1] = action[:, 0], response[:, 0]
    response[1, 1] = 1 - response[1, 0].clamp(max=1)  # another answer in lesson 1, for student 1
    with torch.no_grad():
        _, _, before, _ = policy._skill_memories(*policy._event(inputs(action, response))[::2])
        hidden, logits = policy.sequence(inputs(action, response))
    assert (before[2:4, 0] - before[2:4, 1]).abs().max() > 1e-6  # felt in its lesson
    assert torch.equal(before[4:, 0], before[4:, 1])  # no longer in the next
    assert (hidden[4:, 0] - hidden[4:, 1]).abs().amax(-1).min() > 1e-9
    assert (logits[4:, 0] - logits[4:, 1]).abs().max() > 1e-9


@pytest.mark.parametrize("distinct", [False, True])
def test_permuting_the_skills_permutes_the_logits(distinct):
    policy, order = actor(distinct=distinct), torch.tensor([2, 0, 1])
    action, response = history(15, 6, seed=1)
    renamed = order[action // W] * W + action % W
    with torch.no_grad():
        _, logits = policy.sequence(inputs(action, response))
        _, permuted = policy.sequence(inputs(renamed, response))
    moved = permuted.unflatten(-1, (K, W))[..., order, :].flatten(-2)
    alike = torch.allclose(moved, logits, rtol=0, atol=1e-12)
    assert alike is not distinct  # only what tells them apart on purpose tells them apart


def test_students_do_not_feel_each_other():
    policy = actor(distinct=True)
    action, response = history(15, 5, seed=2)
    with torch.no_grad():
        _, together = policy.sequence(inputs(action, response))
        _, alone = policy.sequence(inputs(action[:, 2:3], response[:, 2:3]))
    torch.testing.assert_close(together[:, 2:3], alone, rtol=0, atol=1e-12)


def test_the_time_since_a_practice_is_felt():
    """Skill 0 once, then skill 1 over and over: the logits of skill 0 go on changing."""
    policy = actor(n_lessons=1, n_steps=6, distinct=False)
    action = torch.tensor([0, W, W, W, W, W]).unsqueeze(-1)
    _, _, _, since = policy._skill_memories(*policy._event(inputs(action, action * 0))[::2])
    log_steps = since[:, 0, :, 0]
    # never practised, then log(1 + steps since) of skill 0; skill 1 from step 2 on is fresh
    expected = torch.log(torch.tensor([1.0, 1, 2, 3, 4, 5]))
    torch.testing.assert_close(log_steps[:, 0].float(), expected)
    assert (log_steps[:, 1] == 0).all()


def test_actions_that_are_no_grid_are_refused():
    population = Population.model_validate(
        {
            "name": "quiz",
            "student": "style_bandit",
            "model": {"modalities": ["a", "b"], "questionnaire_accuracy": 0.8},
            "latents": {},
        }
    )
    model = population.student_model
    with pytest.raises(ValueError, match="`network` must be 'joint' for student model"):
        ActorShape.of(model, TeachingTask(), 8, GRUConfig(), "per_skill")
