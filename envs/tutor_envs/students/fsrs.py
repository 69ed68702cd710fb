"""FSRS-6 memory: cards with stability and difficulty, and power-law forgetting.

A card has a stability S (days until recall falls to 90 %) and a difficulty D in [1, 10]; 21 weights
``w0`` .. ``w20`` belong to the student. G is a review's rating: Again 1, Hard 2, Good 3, Easy 4.
Equations as in the package ``fsrs`` 6.3.2 (py-fsrs ``scheduler.py``; Ye, Su & Cao 2022, KDD, for
the idea), with which the pure functions here agree to 1e-9:

* recall t days after a review: ``R = (1 + f t / S)**-w20``, ``f = 0.9**(-1/w20) - 1``. Here t may
  be a fraction; the package cuts it to whole days;
* first review: ``S = w[G-1]``, ``D = clip(D0(G), 1, 10)``, ``D0(G) = w4 - exp(w5 (G-1)) + 1``;
* success a day or more later:
  ``S' = S (1 + exp(w8) (11-D) S**-w9 (exp(w10 (1-R)) - 1) * (w15 if Hard) * (w16 if Easy))``;
* failure: ``S' = min(w11 D**-w12 ((S+1)**w13 - 1) exp(w14 (1-R)), S / exp(w17 w18))``;
* review within a day: ``S' = S exp(w17 (G-3+w18)) S**-w19``, and not below S unless Again;
* always: ``D' = clip(w7 D0(4) + (1-w7) (D - w6 (G-3) (10-D)/9), 1, 10)``.

The student rates a success Good and a failure Again. A card that was never reviewed is answered
correctly with probability ``p_known`` (not part of FSRS, which knows no first guess); that answer
is then its first rating. Ours, too: ability multiplies ``w0`` .. ``w3`` by
``exp(ability_on_stability * ability)`` (users' log initial stabilities spread by 1.2-1.4) and adds
``ability_on_growth * ability`` to ``w8``; the modality's style multiplies the log-growth of
stability at a success, ``log(S'/S)``.
"""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from tutor_envs.practice import SkillPractice, index_of, narrowed
from tutor_envs.student import Latents, LatentSpec, State

N_WEIGHTS = 21
# fmt: off
DEFAULT_WEIGHTS = (
    0.212, 1.2931, 2.3065, 8.2956, 6.4133, 0.8334, 3.0194, 0.001, 1.8722, 0.1666, 0.796,
    1.4835, 0.0614, 0.2629, 1.6483, 0.6014, 1.8729, 0.5425, 0.0912, 0.0658, 0.1542,
)
"""Defaults of py-fsrs 6.3.2."""
LOWER_WEIGHTS = (
    *(0.001,) * 4, 1.0, *(0.001,) * 3, 0.0, 0.0, *(0.001,) * 4, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.1,
)
"""Smallest weights that py-fsrs 6.3.2 accepts."""
UPPER_WEIGHTS = (
    *(100.0,) * 4, 10.0, 4.0, 4.0, 0.75, 4.5, 0.8, 3.5, 5.0, 0.25, 0.9, 4.0, 1.0, 6.0, 2.0, 2.0,
    0.8, 0.8,
)
"""Largest weights that py-fsrs 6.3.2 accepts."""
# fmt: on
AGAIN, HARD, GOOD, EASY = 1, 2, 3, 4
_MIN_STABILITY = 0.001
_MAX_STABILITY = 36500.0
"""A student's stability stops at a hundred years, so that repeated growth stays finite."""
_MEANINGS = (
    *(f"stability after a first review rated {r}, days" for r in ("Again", "Hard", "Good", "Easy")),
    "difficulty after a first Again",
    "how a better first rating lowers the difficulty",
    "change of difficulty per rating step",
    "pull of the difficulty towards that of a first Easy",
    "log-growth of stability at a success",
    "slower growth of a larger stability",
    "more growth the less was recalled",
    "stability after a failure",
    "less of it for difficult cards",
    "more of it for stable cards",
    "more of it the less was recalled",
    "factor on growth if Hard",
    "factor on growth if Easy",
    "same-day growth per rating step",
    "same-day growth of a Good",
    "slower same-day growth of a larger stability",
    "power of forgetting",
)


def retrievability(weights: Tensor, stability: Tensor, days: Tensor) -> Tensor:
    """Probability of recall ``days`` after the last review.

    Args:
        weights: ``(..., 21)``; its leading axes broadcast with the others'.
        stability: days, > 0.
        days: >= 0, fractions included.
    """
    decay = weights[..., 20]
    return (1 + (0.9 ** (-1 / decay) - 1) * days / stability) ** -decay


def days_until(weights: Tensor, stability: Tensor, recall: float) -> Tensor:
    """Days from a review until the probability of recall is ``recall``, in (0, 1)."""
    decay = weights[..., 20]
    return stability * (recall ** (-1 / decay) - 1) / (0.9 ** (-1 / decay) - 1)


def first_memory(weights: Tensor, rating: Tensor) -> tuple[Tensor, Tensor]:
    """Stability (days) and difficulty after a card's first review.

    Args:
        weights: ``(..., 21)``.
        rating: int64, 1 (Again) to 4 (Easy).
    """
    stability = weights[..., EASY - 1]
    for grade in (GOOD, HARD, AGAIN):
        stability = torch.where(rating == grade, weights[..., grade - 1], stability)
    return stability.clamp(min=_MIN_STABILITY), _first_difficulty(weights, rating).clamp(1, 10)


def next_memory(
    weights: Tensor, stability: Tensor, difficulty: Tensor, rating: Tensor, days: Tensor
) -> tuple[Tensor, Tensor]:
    """Stability (days) and difficulty after a further review.

    Args:
        weights: ``(..., 21)``; its leading axes broadcast with the others'.
        stability: before the review, days.
        difficulty: before the review, in [1, 10].
        rating: int64, 1 (Again) to 4 (Easy).
        days: since the last review; below 1 the same-day rule holds.
    """
    w = weights.unbind(-1)
    forgot = rating == AGAIN
    missing = 1 - retrievability(weights, stability, days)
    bonus = torch.where(rating == HARD, w[15], torch.where(rating == EASY, w[16], 1.0))
    gain = (11 - difficulty) * stability ** -w[9] * torch.expm1(missing * w[10])
    recalled = stability * (1 + torch.exp(w[8]) * gain * bonus)
    relearned = w[11] * difficulty ** -w[12] * ((stability + 1) ** w[13] - 1)
    failed = torch.minimum(
        relearned * torch.exp(missing * w[14]), stability * torch.exp(-w[17] * w[18])
    )
    same_day = torch.exp(w[17] * (rating - GOOD + w[18])) * stability ** -w[19]
    same_day = stability * torch.where(forgot, same_day, same_day.clamp(min=1))
    later = torch.where(forgot, failed, recalled)
    easiest = _first_difficulty(weights, torch.full_like(rating, EASY))
    moved = difficulty - w[6] * (rating - GOOD) * (10 - difficulty) / 9
    return (
        torch.where(days < 1, same_day, later).clamp(min=_MIN_STABILITY),
        (w[7] * easiest + (1 - w[7]) * moved).clamp(1, 10),
    )


def _first_difficulty(weights: Tensor, rating: Tensor) -> Tensor:
    return weights[..., 4] - torch.exp(weights[..., 5] * (rating - 1)) + 1


class FSRS(SkillPractice):
    """FSRS-6 memory; see the module's text for the equations."""

    name: ClassVar[str] = "fsrs"
    activity: ClassVar[str] = "review"
    unit: ClassVar[str] = "card"

    n_skills: int = Field(6, ge=1, description="cards")
    step_s: float = Field(21600.0, gt=0, description="seconds from one review to the next")
    delay_days: float = Field(7.0, ge=0, description="days between the lesson and its post-test")
    ability_on_stability: float = Field(
        1.2, ge=0, description="log initial stability per SD of ability"
    )
    ability_on_growth: float = Field(
        0.0, ge=0, description="log growth of stability per SD of ability"
    )

    @cached_property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """Common latents, the 21 weights, and the guess at a card never seen."""
        table = zip(LOWER_WEIGHTS, UPPER_WEIGHTS, DEFAULT_WEIGHTS, _MEANINGS, strict=True)
        weights = {f"w{i}": LatentSpec((), *row) for i, row in enumerate(table)}
        guess = LatentSpec((), 0, 1, 0.1, "P(correct) at the first exposure")
        return self._common_latents() | weights | {"p_known": guess}

    def weights(self, latents: Latents) -> Tensor:
        """The weights with the student's ability in them, ``(n, 21)``."""
        ability = latents["ability"]
        weights = [latents[f"w{i}"] for i in range(N_WEIGHTS)]
        scale = torch.exp(self.ability_on_stability * ability)
        weights[:EASY] = [weight * scale for weight in weights[:EASY]]
        weights[8] = weights[8] + self.ability_on_growth * ability
        # Each weight is read alone: those of all students lie side by side in memory.
        return torch.stack(weights).mT

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """No card was ever reviewed.

        ``stability`` (days), ``difficulty``, ``days`` since the last review and ``seen`` (bool),
        each ``(n, K)``; the first three mean nothing before the first review.
        """
        cards = latents["ability"].new_ones((len(latents["ability"]), self.n_skills))
        return {
            "stability": cards,
            "difficulty": cards.clone(),
            "days": torch.zeros_like(cards),
            "seen": torch.zeros_like(cards, dtype=torch.bool),
        }

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """Recall of the cards seen; ``p_known`` for the others."""
        weights = self.weights(latents).unsqueeze(1)
        recall = retrievability(weights, state["stability"], state["days"])
        return torch.where(state["seen"], recall, latents["p_known"].unsqueeze(-1))

    def p_answer(self, latents: Latents, state: State, skill: Tensor) -> Tensor:
        """The same of one card."""
        return self.p_correct(latents, narrowed(state, skill))

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """A review: the first sets stability and difficulty, the others move them."""
        weights = self.weights(latents).unsqueeze(1)
        rating = torch.where(correct, GOOD, AGAIN)
        index = index_of(practised)
        card = narrowed(state, index)
        stability, seen = card["stability"], card["seen"]
        first = first_memory(weights, rating)
        later = next_memory(weights, stability, card["difficulty"], rating, card["days"])
        styled = stability * (later[0] / stability) ** torch.where(correct, style, 1.0)
        reviewed = {
            "stability": torch.where(seen, styled, first[0]).clamp(max=_MAX_STABILITY),
            "difficulty": torch.where(seen, later[1], first[1]),
            "days": torch.zeros_like(stability),
            "seen": torch.ones_like(seen),
        }
        return {name: state[name].scatter(1, index, reviewed[name]) for name in reviewed}

    def wait(self, latents: Latents, state: State, days: Tensor, uniforms: Tensor) -> State:
        """Every card gets older."""
        return state | {"days": state["days"] + days.unsqueeze(-1)}
