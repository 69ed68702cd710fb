"""Rules of simulation: forms and ranges, and that nothing counts but the arguments."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from tutor_envs.checks.case import Case, Complaint, Level, Trace
from tutor_envs.student import Latents, State, StudentModel, TeachingAction

_SAME = 1e-5
"""Sums may be rounded otherwise in another batch."""


def declarations(case: Case) -> Iterator[Complaint]:
    """Names of skills, actions and responses; latents and their defaults."""
    model = case.model
    for what, names in (("skills", model.skills), ("actions", model.actions)):
        if not names or len(set(names)) < len(names):
            yield Complaint(f"`{what}` must be different and at least one, got {names}")
    if not all(isinstance(action, TeachingAction) for action in model.actions):
        yield Complaint("`actions` must be a tuple of TeachingAction(activity, skill, modality)")
    if not model.responses or len(set(model.responses)) < len(model.responses):
        yield Complaint(f"`responses` must be different and at least one, got {model.responses}")
    for name in ("ability", "responsiveness", "style_strength"):
        if name not in model.latent_specs:
            yield Complaint(
                f"`latent_specs` lacks the common latent `{name}`: return "
                "`self._common_latents() | {...}`"
            )
    for name, spec in model.latent_specs.items():
        if math.isnan(spec.low) or math.isnan(spec.high) or spec.low > spec.high:
            yield Complaint(f"`latent_specs.{name}` must have low <= high")
        if not spec.meaning:
            text = f"`latent_specs.{name}.meaning` is empty: say in a line what it is, with unit"
            yield Complaint(text, Level.WARNING)


def shapes(case: Case) -> Iterator[Complaint]:
    """Types, shapes and dtypes of all that is returned."""
    model, students = case.model, case.students
    n, n_skills = len(students), len(model.skills)
    latents = case.latents(students)
    state: Any = case.begin(students, latents)
    action = case.action(students, 0, model.legal_actions(state))
    returned: Any = model.step(latents, state, action, case.luck(students, 0))
    if not isinstance(returned, tuple) or len(returned) != 2:
        yield Complaint("`step` must return (state, response)")
        return
    after, response = returned
    for place, value in (("begin_lesson", state), ("step", after)):
        yield from _state_shapes(place, value, n)
    if isinstance(state, dict) and isinstance(after, dict) and set(state) != set(after):
        yield Complaint(
            f"the state must keep its keys: `begin_lesson` gives {sorted(state)}, "
            f"`step` {sorted(after)}"
        )
    yield from _form("`step`'s response", response, (n,), torch.int64)
    yield from _form("`mastery`", model.mastery(latents, after), (n, n_skills), torch.float32)
    yield from _form("`post_test`", model.post_test(latents, after), (n,), torch.float32)
    legal = model.legal_actions(after)
    if legal is not None:
        yield from _form("`legal_actions`", legal, (n, model.n_actions), torch.bool)
    signals, names = model.signals(latents, after), model.signal_names
    if (signals is None) != (not names):
        yield Complaint("`signals` must be None where `signal_names` is empty, and only there")
    elif signals is not None:
        yield from _form("`signals`", signals, (n, len(names)), None)


def _state_shapes(place: str, state: Any, n: int) -> Iterator[Complaint]:
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        yield Complaint(f"`{place}` must return the state as a dict of tensors")
        return
    for name, value in state.items():
        if value.dim() == 0 or len(value) != n:
            yield Complaint(
                f"`{place}`: state `{name}` must have one row for each of the {n} students, "
                f"got the shape {tuple(value.shape)}"
            )


def _form(
    what: str, value: Any, shape: tuple[int, ...], dtype: torch.dtype | None
) -> Iterator[Complaint]:
    if not isinstance(value, Tensor):
        yield Complaint(f"{what} must be a tensor, got {type(value).__name__}")
    elif tuple(value.shape) != shape:
        yield Complaint(f"{what} must have the shape {shape}, got {tuple(value.shape)}")
    elif dtype is not None and value.dtype != dtype:
        text = f"{what} must be {dtype} for float32 latents, got {value.dtype}"
        yield Complaint(
            text.replace(" for float32 latents", "")
            if dtype.is_signed and not dtype.is_floating_point
            else text
        )


def ranges(case: Case) -> Iterator[Complaint]:
    """Responses are indices; mastery and scores are in [0, 1] and finite."""
    trace, n_responses = case.simulate(case.students), case.model.n_responses
    # Whom an action does not reach has the response R.
    bad = (trace.responses < 0) | (trace.responses > n_responses)
    if (
        case.model.legal_actions(trace.states[0]) is None
        and case.model.reachable(trace.states[0]) is None
    ):
        bad |= trace.responses == n_responses
    if bool(bad.any()):
        got = int(trace.responses[bad][0])
        yield Complaint(f"`step` must respond with an index in [0, {n_responses}), got {got}")
    values = {"mastery": trace.mastery}
    if not hasattr(case.model, "return_range"):  # an environment's return has no range
        values["post_test"] = trace.post_test
    for name, value in values.items():
        inside = value.isfinite() & (value >= -_SAME) & (value <= 1 + _SAME)
        if not bool(inside.all()):
            step, student = (~inside).nonzero()[0, :2].tolist()
            yield Complaint(
                f"`{name}` must be in [0, 1] and finite, got {float(value[~inside][0]):g} for "
                f"student {student} after step {step}; clamp it, or look for a division by zero"
            )
    if not bool(trace.post_test.isfinite().all()):
        yield Complaint("`post_test` must be finite")
    for step, signal in enumerate(trace.signals):
        if signal is not None and not bool(signal.isfinite().all()):
            yield Complaint(f"`signals` must be finite, got {signal} after step {step}")
            return


def determinism(case: Case) -> Iterator[Complaint]:
    """Twice the same seed, twice the same lesson."""
    if what := difference(case.simulate(case.students), case.simulate(case.students)):
        source = "its `rng`" if case.hosted else "`uniforms`"
        yield Complaint(
            f"{what} differ when the same lesson is simulated again: draw from {source} alone, "
            "and keep nothing in the model or in module or class variables"
        )


def batch_size(case: Case) -> Iterator[Complaint]:
    """A student is the same alone, in a crowd, and in any order."""
    whole = case.simulate(case.students)
    turned = case.simulate(case.students.flip(0))
    advice = (
        "a row may depend on nothing but its own latents, state and uniforms (look for means or "
        "maxima over students, and for a fixed number of students)"
    )
    if what := difference(whole, turned, rows=torch.arange(case.n_students).flip(0)):
        yield Complaint(f"{what} differ when the students come in another order: {advice}")
        return
    for row in {0, case.n_students // 2, case.n_students - 1}:
        alone = case.simulate(case.students[row : row + 1])
        if what := difference(whole, alone, rows=torch.tensor([row])):
            yield Complaint(
                f"{what} of student {row} differ between a batch of {case.n_students} and a batch "
                f"of one: {advice}"
            )
            return


def difference(first: Trace, second: Trace, rows: Tensor | None = None) -> str:
    """What differs between two traces, or nothing; ``rows`` of the first are the second's."""
    for name in ("responses", "mastery", "post_test"):
        one, other = getattr(first, name), getattr(second, name)
        one = one if rows is None else one[:, rows]
        if one.shape != other.shape or not torch.allclose(
            one.double(), other.double(), rtol=_SAME, atol=_SAME, equal_nan=True
        ):
            return name.replace("_", " ") + ("" if name == "responses" else " values")
    return ""


def device_and_dtype(case: Case) -> Iterator[Complaint]:
    """Tensors are made where the latents are, and float64 latents give float64 values."""
    trace = case.simulate(case.students, n_steps=2, dtype=torch.float64)
    for name, value in (("mastery", trace.mastery), ("post_test", trace.post_test)):
        if value.dtype != torch.float64:
            yield Complaint(
                f"`{name}` must follow the dtype of the latents, got {value.dtype} for float64 "
                '(make tensors with `latents["ability"].new_zeros(...)`)'
            )
    if case.hosted:
        return
    # A copy, for a model may keep tensors that it once made.
    model = copy.deepcopy(case.model)
    if torch.cuda.is_available():
        yield from _on("cuda", model)
        return
    with FakeTensorMode(allow_non_fake_inputs=True):  # knows devices without having them
        yield from _on("meta", model)


def _on(device: str, model: StudentModel, n: int = 4) -> Iterator[Complaint]:
    latents: Latents = {
        name: torch.full((n, *s.shape), _inside(s.low, s.high, s.default), device=device)
        for name, s in model.latent_specs.items()
    }
    try:
        state = model.begin_lesson(latents, torch.zeros(n, model.n_start_uniforms, device=device))
        for _ in range(2):
            action = torch.zeros(n, dtype=torch.int64, device=device)
            luck = torch.full((n, model.n_step_uniforms), 0.5, device=device)
            state, response = model.step(latents, state, action, luck)
            results = [response, model.mastery(latents, state), model.post_test(latents, state)]
    except (DataDependentOutputException, DynamicOutputShapeException) as error:
        yield Complaint(
            f"values are read from tensors, which stops a GPU at every step ({error}): avoid "
            "`.item()`, `.tolist()`, `if tensor` and boolean indexing; use `torch.where`",
            Level.WARNING,
        )
        return
    except Exception as error:
        yield Complaint(
            f"fails on a GPU: {str(error).splitlines()[0]} (make tensors with `device=` of the "
            "latents or of the action)"
        )
        return
    if any(result.device.type != device for result in results):
        yield Complaint("results must be on the device of the latents, got the CPU")


def _inside(low: float, high: float, default: float) -> float:
    return default if low <= default <= high else max(low, min(high, 0.0))


def observation(case: Case) -> Iterator[Complaint]:
    """Nothing about the latents can be seen before a response, nor beside it."""
    model = case.model
    trace = case.simulate(case.students, n_steps=min(4, case.n_steps), same_actions=True)
    first = trace.signals[0]
    if first is not None and not hasattr(model, "return_range") and bool((first != first[0]).any()):
        yield Complaint(
            "the signals at the start of a lesson differ between students: they must be the same "
            "for everybody (zeros) until something was answered"
        )
    # Students with one history of responses must see one and the same mask.
    history = torch.zeros(case.n_students, dtype=torch.int64)
    for step, legal in enumerate(trace.legal):
        if step:
            history = history * (model.n_responses + 1) + trace.responses[step - 1]
        if legal is None:
            return
        for group in set(history.tolist()):
            rows = legal[history == group]
            if bool((rows != rows[0]).any()):
                yield Complaint(
                    f"`legal_actions` differs after {step} steps between students who were asked "
                    "and answered the same: it must follow from actions and responses alone, not "
                    "from latents or knowledge"
                )
                return


def signals_tell(case: Case) -> Iterator[Complaint]:
    """No signal is a latent in disguise."""
    trace = case.simulate(case.students, n_steps=2, same_actions=True)
    last = trace.signals[-1]
    if last is None or hasattr(case.model, "return_range"):
        return
    for i, signal in enumerate(case.model.signal_names):
        for name, spec in case.model.latent_specs.items():
            latent = trace.latents[name].reshape(case.n_students, -1)
            if spec.shape == () and _correlation(last[:, i], latent[:, 0]) > 0.999:
                yield Complaint(
                    f"the signal `{signal}` shows the hidden latent `{name}`: add noise"
                )


def _correlation(x: Tensor, y: Tensor) -> float:
    both = torch.stack([x.double(), y.double()])
    if bool((both.std(-1) < 1e-9).any()):
        return 0.0
    return abs(float(torch.corrcoef(both)[0, 1]))


def global_rng(case: Case) -> Iterator[Complaint]:
    """Global random generators are neither used nor moved."""
    before = _global_states()
    try:
        traces = []
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
            seeded = _global_states()
            traces.append(case.simulate(case.students))
            moved = [name for name, state in _global_states().items() if state != seeded[name]]
        source = "its `rng`" if case.hosted else "`uniforms`"
        if moved:
            yield Complaint(f"draws from the global generator of {', '.join(moved)}: use {source}")
        elif difference(traces[0], traces[1]):
            yield Complaint(f"depends on global random generators: draw from {source} alone")
    finally:
        random.setstate(before["random"])
        np.random.set_state(before["numpy"])  # noqa: NPY002
        torch.set_rng_state(torch.tensor(before["torch"], dtype=torch.uint8))


def _global_states() -> dict[str, Any]:
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "random": random.getstate(),
        "numpy": (name, tuple(keys), *rest),
        "torch": torch.get_rng_state().tolist(),
    }


def inputs(case: Case) -> Iterator[Complaint]:
    """Arguments are not changed in place."""
    model, students = case.model, case.students
    latents = dict(case.latents(students))
    state = case.begin(students, latents)
    action, luck = case.action(students, 0, model.legal_actions(state)), case.luck(students, 0)
    given: dict[str, Any] = {"latents": latents, "state": state, "action": action, "uniforms": luck}
    kept = _copied(given)
    after, _ = model.step(latents, state, action, luck)
    kept_after: State = _copied(after)
    model.mastery(latents, after)
    model.post_test(latents, after)
    changed = [name for name in given if not _equal(given[name], kept[name])]
    if not _equal(after, kept_after):
        changed.append("state (by `mastery` or `post_test`)")
    for name in changed:
        yield Complaint(
            f"the argument `{name}` is changed in place: compute new tensors (`x = x + y`, "
            "`torch.where`, `clone()`), without `x += y`, `x[...] = y` or methods like `add_`"
        )


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    return value.clone()


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return set(one) == set(other) and all(_equal(one[name], other[name]) for name in one)
    return bool(torch.equal(one, other))


def waiting(case: Case) -> Iterator[Complaint]:
    """Time may pass: the state keeps its form, mastery its range."""
    model, students = case.model, case.students
    latents = case.latents(students)
    state = case.begin(students, latents)
    n = len(students)
    luck = torch.full((n, model.n_wait_uniforms), 0.5)
    later = model.wait(latents, state, torch.full((n,), 30.0), luck)
    if set(later) != set(state) or any(later[k].shape != state[k].shape for k in state):
        yield Complaint("`wait` must return a state of the same form")
        return
    mastery = model.mastery(latents, later)
    if not bool((mastery.isfinite() & (mastery >= -_SAME) & (mastery <= 1 + _SAME)).all()):
        yield Complaint("`mastery` must be in [0, 1] after a `wait` of 30 days")
