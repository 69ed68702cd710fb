"""Acting step by step: with frozen weights, and drawing actions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_agents.engine.frozen import FrozenActor, frozen
from tutor_agents.engine.networks import Actor, ActorShape, Inputs
from tutor_agents.engine.rollout import sample_action

N_TOKENS = 3 * 3 + 1


def actor(memory: str = "gru", **more: int | bool) -> Actor:
    shape = ActorShape.model_validate(
        {
            "n_actions": 3,
            "n_responses": 2,
            "n_lessons": 2,
            "n_steps": 5,
            "show_score": False,
            "hidden_size": 24,
            "memory": {"kind": memory},
        }
        | more
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Actor(shape)
        network.initialise()
        for parameter in network.parameters():  # the head begins near zero
            parameter.data += 0.1 * torch.randn_like(parameter)
    return network


@pytest.mark.parametrize(
    "policy",
    [actor(), actor(show_score=True), actor(n_signals=2), actor("min_gru")],
    ids=["gru", "score", "signals", "other memory"],
)
def test_a_frozen_actor_acts_as_the_one_it_was_made_of(policy):
    generator = torch.Generator().manual_seed(1)
    acting = frozen(policy)
    assert isinstance(acting, FrozenActor)
    state, frozen_state = policy.begin(7), acting.begin(7)
    for t in range(policy.shape.n_trial_steps):
        inputs = Inputs(
            torch.randint(N_TOKENS, (7,), generator=generator),
            torch.rand(7, generator=generator) if policy.shape.show_score else None,
            torch.randn(7, 2, generator=generator) if policy.shape.n_signals else None,
        )
        hidden, logits, state = policy.step(inputs, t, state)
        found, frozen_logits, frozen_state = acting.step(inputs, t, frozen_state)
        torch.testing.assert_close(found, hidden, rtol=0, atol=2e-6)
        torch.testing.assert_close(frozen_logits, logits, rtol=0, atol=2e-6)


@pytest.mark.parametrize("token", [-1, N_TOKENS])
def test_a_token_that_does_not_exist_is_refused(token):
    acting = frozen(actor())
    with pytest.raises(IndexError, match=r"tokens must be in \[0, 10\)"):
        acting.step(Inputs(torch.tensor([0, token]), None, None), 0, acting.begin(2))


@given(
    logits=st.lists(st.one_of(st.floats(-30, 30), st.just(-1e9)), min_size=1, max_size=40).filter(
        lambda values: max(values) > -1e9
    ),
    u=st.one_of(st.integers(0, 2**24 - 1).map(lambda k: k * 2.0**-24), st.just(1 - 2.0**-24)),
)
@settings(max_examples=300, deadline=None)
def test_no_draw_gives_an_impossible_action(logits, u):
    logp = torch.log_softmax(torch.tensor([logits]), dim=-1)
    action = sample_action(logp, torch.tensor([[u]]))
    assert logp.gather(-1, action.unsqueeze(-1)).exp() > 0


def test_actions_are_drawn_as_often_as_they_are_probable():
    p = torch.tensor([0.1, 0.0, 0.25, 0.6, 0.05])
    u = (torch.arange(20_000) + 0.5).unsqueeze(-1) / 20_000
    action = sample_action(p.log().expand(len(u), -1), u)
    counts = torch.bincount(action, minlength=5) / len(u)
    torch.testing.assert_close(counts, p, rtol=0, atol=1e-4)
