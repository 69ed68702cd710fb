"""Which tutors of a comparison are put through the null controls."""

from __future__ import annotations

from tutor_agents.tutor import Oracle, Tutor
from tutor_envs.population import Population
from tutor_envs.task import TeachingTask
from tutor_sim.controls.run import Control, NullControls
from tutor_sim.evaluation import Evaluation, Role
from tutor_sim.summary import BAYES

_OUR_PACKAGE = "tutor_agents"


class ComparedControls:
    """Null controls of the learned tutors (one training of each) and of third parties' tutors.

    Where there are none, the best of our own baselines is controlled. Oracles read what is hidden
    and say so; the exact planner knows no answers but those that its plan expects. Neither is
    controlled.
    """

    def __init__(self, population: Population, task: TeachingTask, *, seed: int, device: str):
        """Arguments as for :class:`tutor_sim.controls.run.NullControls`."""
        self._controls = NullControls(population, task, seed=seed, device=device)
        self._found: dict[str, list[Control]] = {}
        self._best: tuple[Tutor, Evaluation] | None = None

    def meet(self, tutor: Tutor, evaluation: Evaluation) -> None:
        """A tutor of the comparison, under the name that it has there, after its evaluation."""
        name, role = evaluation.tutor, evaluation.role
        if isinstance(tutor, Oracle) or role is Role.OPTIMUM or name in (BAYES, *self._found):
            return
        ours = type(tutor).__module__.partition(".")[0] == _OUR_PACKAGE
        if role is Role.LEARNED or not ours:
            self._found[name] = self._controls.of(tutor, name)
        elif self._best is None or evaluation.score > self._best[1].score:
            self._best = tutor, evaluation

    @property
    def of_others(self) -> list[Control]:
        """Of learned and third parties' tutors so far."""
        return [control for controls in self._found.values() for control in controls]

    def results(self) -> list[Control]:
        """All controls, once every tutor was met."""
        if not self._found and self._best is not None:
            tutor, evaluation = self._best
            return self._controls.of(tutor, evaluation.tutor)
        return self.of_others
