"""An actor that treats skills alike: what it learns about one skill it knows about all.

Teaching actions are (activity, skill, modality). Call the pair (activity, modality) a *way*; there
are W ways. With many skills most of what a tutor must learn ("answered wrong: stay; answered right
twice: go on") is the same for each skill. So::

    s_k  memory of skill k in this lesson: a GRU over way, answer and steps since the last practice
         of each of its own practices
    g    memory of the student through the trial: over clock, way, answer, and s_k of the skill just
         practised, before and after
    logit(k, w) = w-th output of f(s_k, log(1 + steps since k was practised), mean over skills of s,
                  g, clock) + b(k, w)

``f`` and both memories are shared by the skills, so permuting the skills permutes the logits: the
policy is permutation-equivariant (Zaheer et al. 2017, "Deep sets", arXiv 1703.06114), up to what
tells the skills apart on purpose: the bias ``b`` and an embedding of the skill in the inputs of the
two memories, which start at zero and are learned where skills differ.

Both memories run over whole trials at once: a skill's practices in a lesson are one short sequence,
independent of ``g``, so all of them are rows of one batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from tutor_agents.engine.networks import (
    Actor,
    ActorShape,
    InputEncoder,
    Inputs,
    initialise_head,
    linear_of_parts,
)
from tutor_agents.memories import MemoryState, make_memory
from tutor_agents.memories.gru import initialise_gates
from tutor_agents.memories.gru_kernel import gru_packed, gru_step
from tutor_envs.classroom import Observation

_NEVER = -1
"""Of a skill that was not practised in this lesson."""


class SkillActor(nn.Module):
    """The same memory and policy for every skill; see the module's text."""

    _skill: Tensor
    _way: Tensor
    _cell: Tensor

    def __init__(self, shape: ActorShape) -> None:
        """Build an actor of this shape; see ``initialise`` for its weights."""
        super().__init__()
        self.shape = shape
        skill, way = torch.tensor(shape.skill_of_action), torch.tensor(shape.way_of_action)
        self.n_skills, self.n_ways = int(skill.max()) + 1, int(way.max()) + 1
        # one more entry for "no action yet"
        self.register_buffer("_skill", torch.cat([skill, skill.new_zeros(1)]), persistent=False)
        self.register_buffer(
            "_way", torch.cat([way, way.new_full((1,), self.n_ways)]), persistent=False
        )
        self.register_buffer("_cell", skill * self.n_ways + way, persistent=False)
        width = shape.hidden_size
        self._codes = shape.n_responses + 1
        self.width = width // 2
        ways = shape.model_copy(update={"n_actions": self.n_ways})
        self.event = nn.Embedding(self.n_ways * self._codes + 1, self.width)
        self.event_skill = nn.Embedding(self.n_skills, self.width)
        self.event_gap = nn.Linear(1, self.width)
        self.practices = nn.GRU(self.width, self.width)
        self.inputs = InputEncoder(ways)
        self.skill = nn.Embedding(self.n_skills, width)
        self.practised = nn.Linear(2 * self.width, width)
        self.memory = make_memory(shape.memory, width, shape.n_trial_steps)
        self.of_skill = nn.Linear(2 * self.width + 1, width)
        self.of_student = nn.Linear(2 * width, width)
        self.out = nn.Linear(width, self.n_ways)
        self.bias = nn.Parameter(torch.zeros(shape.n_actions))

    def initialise(self) -> None:
        """Draw the initial weights from torch's generator (seed it first).

        What tells the skills apart starts at zero; the policy starts near uniform.
        """
        nn.init.normal_(self.event.weight, std=0.5)
        nn.init.zeros_(self.event_skill.weight)
        nn.init.zeros_(self.skill.weight)
        initialise_gates(self.practices, n_gates=3)
        self.inputs.initialise()
        self.memory.initialise()
        initialise_head(nn.Sequential(self.of_skill, self.of_student, self.out), gain=0.01)
        nn.init.orthogonal_(self.practised.weight)
        nn.init.zeros_(self.practised.bias)

    def encode(self, observation: Observation) -> Inputs:
        """The inputs of one step; the token counts (action, response) pairs."""
        begins = observation.action == self.shape.n_actions
        code = torch.where(begins, 0, observation.response)
        token = observation.action * self._codes + code
        return Inputs(token, observation.score, observation.signals)

    def begin(self, n_students: int) -> MemoryState:
        """Nothing practised, nothing remembered."""
        skills = self.bias.new_zeros(n_students, self.n_skills, self.width)
        practised_at = torch.full_like(skills[..., 0], _NEVER, dtype=torch.int64)
        return {"skills": skills, "at": practised_at, **self.memory.begin(n_students)}

    def step(
        self, inputs: Inputs, t: int, state: MemoryState
    ) -> tuple[Tensor, Tensor, MemoryState]:
        """One step of acting."""
        skill, way_inputs, event = self._event(inputs)
        state = dict(state)
        skills, at = state.pop("skills"), state.pop("at")
        rows = torch.arange(len(skill), device=skill.device)
        before = after = skills[rows, skill]
        if t > 0:
            event = event + self.event_gap(self._log_steps(t, at[rows, skill]))
            after = gru_step(self.practices, event, before)
        if t % self.shape.n_steps == 0:
            skills, at = torch.zeros_like(skills), torch.full_like(at, _NEVER)
        else:
            skills = skills.index_put((rows, skill), after)
            at = at.index_put((rows, skill), torch.full_like(skill, t))
        clock = self.inputs.clock.weight[t]
        x = self._student_input(way_inputs, clock, skill, before, after, begins=t == 0)
        hidden, state = self.memory.step(x, state)
        logits = self._logits(skills, self._log_steps(t, at), hidden, clock)
        return hidden, logits, {"skills": skills, "at": at, **state}

    def sequence(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """A whole trial at once."""
        skill, way_inputs, event = self._event(inputs)
        before, after, skills, since = self._skill_memories(skill, event)
        clock = self.inputs.clock.weight[: len(skill)].unsqueeze(1)
        first = self._student_input(
            _of_steps(way_inputs, 0), clock[0], skill[0], before[0], after[0], begins=True
        )
        rest = self._student_input(
            _of_steps(way_inputs, slice(1, None)),
            clock[1:],
            skill[1:],
            before[1:],
            after[1:],
            begins=False,
        )
        hidden = self.memory.sequence(torch.cat([first.unsqueeze(0), rest]))
        return hidden, self._logits(skills, since, hidden, clock)

    # -- inside -------------------------------------------------------------------------------
    def _event(self, inputs: Inputs) -> tuple[Tensor, Inputs, Tensor]:
        """Skill of the last action, its way and answer as inputs, and as an embedded event."""
        action = inputs.token.div(self._codes, rounding_mode="floor")
        skill = self._skill[action]
        token = self._way[action] * self._codes + inputs.token % self._codes
        return skill, inputs._replace(token=token), self.event(token) + self.event_skill(skill)

    def _student_input(
        self,
        inputs: Inputs,
        clock: Tensor,
        skill: Tensor,
        before: Tensor,
        after: Tensor,
        *,
        begins: bool,
    ) -> Tensor:
        x: Tensor = self.inputs(inputs, clock).dense()
        if begins:
            return x
        x = x + self.skill(skill) + self.practised(torch.cat([before, after], dim=-1))
        return x

    def _log_steps(self, t: int | Tensor, at: Tensor) -> Tensor:
        """log(1 + steps since event ``at``), ``(..., 1)``; 0 where there was none."""
        since = torch.where(at == _NEVER, 0, t - at)
        return torch.log1p(since.to(self.bias.dtype)).unsqueeze(-1)

    def _logits(self, skills: Tensor, since: Tensor, hidden: Tensor, clock: Tensor) -> Tensor:
        """``(..., A)`` from ``(..., K, w)``, ``(..., K, 1)``, ``(..., H)`` and the clock."""
        student = linear_of_parts(self.of_student, hidden, clock)
        of_skill = linear_of_parts(self.of_skill, skills, skills.mean(-2, keepdim=True), since)
        mixed = torch.tanh(of_skill + student.unsqueeze(-2))
        cells: Tensor = self.out(mixed).flatten(-2)
        logits: Tensor = cells.index_select(-1, self._cell) + self.bias
        return logits

    def _skill_memories(
        self, skill: Tensor, event: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Memories of the skills along whole trials.

        Event t (t >= 1) is the practice that step t looks back on; it belongs to the lesson of
        step t - 1. A lesson begins with empty memories.

        Args:
            skill: int64 ``(T, N)``, of the event.
            event: ``(T, N, w)``, without the steps since the last practice.

        Returns:
            The practised skill's memory before and after event t, ``(T, N, w)``; at step t of all
            skills, their memories ``(T, N, K, w)`` and log(1 + steps since practice)
            ``(T, N, K, 1)``.
        """
        (n_steps, n), n_skills, width = skill.shape, self.n_skills, self.width
        t = torch.arange(n_steps, device=skill.device)
        lesson_of_event = (t - 1).clamp(min=0).div(self.shape.n_steps, rounding_mode="floor")
        lesson_of_step = t.div(self.shape.n_steps, rounding_mode="floor")
        happened = torch.nn.functional.one_hot(skill, n_skills)
        happened[0] = 0
        count = happened.cumsum(0)  # (T, N, K): practices in the trial up to event t
        start = count[:: self.shape.n_steps]  # the same when a lesson begins
        n_rows = len(start) * n * n_skills  # a row for each lesson, student and skill
        student = torch.arange(n, device=skill.device)

        # steps since the last practice, of a skill at a step and of the practised one at its event
        at = torch.where(happened > 0, t[:, None, None], _NEVER).cummax(0).values
        opened = (lesson_of_step * self.shape.n_steps)[:, None, None]
        since = self._log_steps(t[:, None, None], torch.where(at > opened, at, _NEVER))
        at_before = torch.cat([at[:1], at[:-1]]).gather(-1, skill.unsqueeze(-1)).squeeze(-1)
        opened = (lesson_of_event * self.shape.n_steps).unsqueeze(-1)
        at_before = torch.where(at_before > opened, at_before, _NEVER)
        event = event + self.event_gap(self._log_steps(t.unsqueeze(-1), at_before))

        # practices side by side: the r-th practice of each row
        seen_by = count - start[lesson_of_event]
        rank = seen_by.gather(-1, skill.unsqueeze(-1)).squeeze(-1) - 1
        row = (lesson_of_event.unsqueeze(-1) * n + student) * n_skills + skill
        length = (torch.cat([start[1:], count[-1:]]) - start).flatten()
        padded = event.new_zeros(max(1, int(length.max())), n_rows, width)
        padded = padded.index_put((rank[1:], row[1:]), event[1:])
        memories = self._run(padded, length)
        flat = torch.cat([padded.new_zeros(1, n_rows, width), memories]).flatten(0, 1)

        # and back along the trial
        place = rank.clamp(min=0) * n_rows + row
        before = flat.index_select(0, place.flatten()).view(*skill.shape, width)
        after = flat.index_select(0, (place + n_rows).flatten()).view(*skill.shape, width)
        rows = (lesson_of_step.unsqueeze(-1) * n + student).unsqueeze(-1) * n_skills
        rows = rows + torch.arange(n_skills, device=skill.device)
        place = (count - start[lesson_of_step]) * n_rows + rows
        skills = flat.index_select(0, place.flatten()).view(n_steps, n, n_skills, width)
        return before, after, skills, since

    def _run(self, padded: Tensor, length: Tensor) -> Tensor:
        """The GRU over rows of different length, ``(L, rows, w)``; rows of length 0 stay zero."""
        used = length.nonzero().squeeze(-1)
        if len(used) == 0:
            return padded
        packed: PackedSequence = pack_padded_sequence(
            padded.index_select(1, used), length[used].cpu(), enforce_sorted=False
        )
        hidden, _ = pad_packed_sequence(
            gru_packed(self.practices, packed), total_length=len(padded)
        )
        return torch.zeros_like(padded).index_copy(1, used, hidden)


def _of_steps(inputs: Inputs, steps: int | slice) -> Inputs:
    score, signals = inputs.score, inputs.signals
    return Inputs(
        inputs.token[steps],
        None if score is None else score[steps],
        None if signals is None else signals[steps],
    )


def make_actor(shape: ActorShape) -> Actor | SkillActor:
    """The actor that a shape describes."""
    return SkillActor(shape) if shape.skill_of_action else Actor(shape)
