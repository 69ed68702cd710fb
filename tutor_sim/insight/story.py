"""One student's lessons told step by step: taught, answered, believed - and, apart, the truth."""

from __future__ import annotations

from typing import NamedTuple

from tutor_envs.render import HIDDEN
from tutor_envs.student import CORRECT, WRONG
from tutor_sim.insight.belief import Believed
from tutor_sim.insight.trace import Trace

_MARKS = {WRONG: "✗", CORRECT: "✓"}
_NOTHING = "–"


class Story(NamedTuple):
    """What is told of one student.

    Attributes:
        trace: of this student alone.
        student: which of the test students, from 1.
        believed: by whom follows the answers; None: nobody can.
        whose: who believes so, in words.
        type_names: of the population.
    """

    trace: Trace
    student: int
    believed: Believed | None
    whose: str
    type_names: tuple[str, ...]

    @property
    def foreteller(self) -> str:
        """Whose probability of a correct answer is told."""
        return "the tutor's own belief head" if self.trace.p_correct is not None else self.whose

    def p_correct(self, t: int) -> float | None:
        """What was thought of the answer to action t before it came."""
        if self.trace.p_correct is not None:
            return float(self.trace.p_correct[t, 0])
        return None if self.believed is None else float(self.believed.p_correct[t, 0])


def story_text(story: Story, lessons: range) -> str:
    """The lessons as lines of text.

    Args:
        story: of one student.
        lessons: which, from 0.
    """
    seen = story.trace.seen
    names = [str(action) for action in seen.model.actions]
    width = max(len("taught"), *(len(names[a]) for a in seen.actions[:, 0].tolist()))
    answer = max(len("answered"), 2 + max(map(len, (*seen.model.responses, "no effect"))))
    lines = [
        f"Student {story.student}, taught by {story.trace.tutor}",
        f"P(correct): before the answer, by {story.foreteller}",
    ]
    if story.believed is not None:
        lines.append(f"believed: mastery of the skill taught, by {story.whose}")
    lines.append(f"truth: mastery of the same skill, {HIDDEN}")
    for lesson in lessons:
        head = f"{'step':>4}  {'taught':<{width}}  {'answered':<{answer}}  P(correct)"
        lines += ["", f"Lesson {lesson + 1} of {seen.task.n_lessons}, a new topic"]
        lines.append(f"{head}  {'believed':<11}  | truth (hidden)")
        first = lesson * seen.task.n_steps
        for t in range(first, first + seen.task.n_steps):
            lines.append(_step(story, t, names, width, answer))
        lines += _after_lesson(story, first + seen.task.n_steps - 1)
    return "\n".join([*lines, "", *_who_it_is(story), *_own_profile(story)]) + "\n"


def _step(story: Story, t: int, names: list[str], width: int, answer: int) -> str:
    seen, hidden = story.trace.seen, story.trace.hidden
    model = seen.model
    action, response = int(seen.actions[t, 0]), int(seen.responses[t, 0])
    answered = model.responses[response] if response < model.n_responses else "no effect"
    answered = f"{_MARKS.get(response, '·')} {answered}"
    p = story.p_correct(t)
    skill = model.actions[action].skill
    believed = truth = _NOTHING
    if skill in model.skills:
        k = model.skills.index(skill)
        truth = _change(float(hidden.mastery_before[t, 0, k]), float(hidden.mastery_after[t, 0, k]))
        if story.believed is not None:
            before = float(story.believed.mastery_before[t, 0, k])
            believed = _change(before, float(story.believed.mastery_after[t, 0, k]))
    foretold = _NOTHING if p is None else f"{p:.2f}"
    step = t % seen.task.n_steps + 1
    return (
        f"{step:>4}  {names[action]:<{width}}  {answered:<{answer}}  {foretold:>10}  "
        f"{believed:<11}  | {truth}"
    )


def _change(before: float, after: float) -> str:
    return f"{before:.2f} → {after:.2f}"


def _after_lesson(story: Story, t: int) -> list[str]:
    """All skills when the lesson is over."""
    lines = ["      after the lesson:"]
    width = max(map(len, story.trace.seen.model.skills))
    for k, skill in enumerate(story.trace.seen.model.skills):
        believed = ""
        if story.believed is not None:
            believed = f"believed {float(story.believed.mastery_after[t, 0, k]):.2f}  "
        truth = float(story.trace.hidden.mastery_after[t, 0, k])
        lines.append(f"      {skill:<{width}}  {believed}| truth {truth:.2f} (hidden)")
    return lines


def _who_it_is(story: Story) -> list[str]:
    """Latents: what was believed before the last answer, and what is true."""
    if story.believed is None:
        return []
    lines = ["Who the student is (what differs from student to student)"]
    hidden, modalities = story.trace.hidden, story.trace.seen.model.modalities
    for name, values in story.believed.traits.items():
        guess = values[-1, 0].tolist()
        if name == "type" and len(guess) != len(story.type_names):
            continue
        if name == "type":
            told = _shares(story.type_names, guess)
            true = story.type_names[int(hidden.latents["type"])]
        elif name == "best modality":
            told = _shares(modalities, guess)
            true = modalities[int(hidden.latents["responsiveness"][0].argmax())]
        else:
            told = _numbers(guess)
            true = _numbers(hidden.latents[name][0].flatten().tolist())
        lines.append(f"  {name}: believed before the last answer {told} | truth {true} (hidden)")
    return lines


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _own_profile(story: Story) -> list[str]:
    """The same in the tutor's own words, where it has any (VariBAD)."""
    profile, latents = story.trace.profile, story.trace.hidden.latents
    if profile is None:
        return []
    lines = ["Who the student is, by the tutor's own profile at the end (mean ± SD)"]
    for i, name in enumerate(profile.names):
        whole, _, part = name.rstrip("]").partition("[")
        true = float(latents[whole][0].flatten()[int(part or 0)])
        told = f"{float(profile.mean[0, i]):.2f} ± {float(profile.sd[0, i]):.2f}"
        lines.append(f"  {name}: {told} | truth {true:.2f} (hidden)")
    return lines


def _shares(names: tuple[str, ...], shares: list[float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in zip(names, shares, strict=True))
