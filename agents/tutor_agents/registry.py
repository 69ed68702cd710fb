"""The tutors that need no training, by name: ``make_tutor("myopic", population, task)``.

Those of third parties are made by reference, ``make_tutor("package.module:Class", ...)``, see
:mod:`tutor_agents.plug_ins`. Learned tutors are not here: they come out of a training run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tutor_agents.bandits import EpsilonGreedyTutor, RewardKind, ThompsonBanditTutor, Ucb1Tutor
from tutor_agents.best_fixed import BestFixedTutor, search_sequence
from tutor_agents.clairvoyant import ClairvoyantTutor
from tutor_agents.elo_matched import EloMatchedTutor
from tutor_agents.linucb import LinUcbTutor
from tutor_agents.lookahead import LookaheadTutor
from tutor_agents.mastery_threshold import MasteryThresholdTutor
from tutor_agents.max_information import Information, MaxInformationTutor
from tutor_agents.myopic import MyopicTutor
from tutor_agents.oracle import OracleTutor
from tutor_agents.oracle_plan import OraclePlanTutor, check_plannable
from tutor_agents.plug_ins import entry_points, is_plug_in, make_plug_in
from tutor_agents.pomcp import PomcpTutor
from tutor_agents.prerequisites_first import PrerequisitesFirstTutor
from tutor_agents.random_tutor import RandomTutor
from tutor_agents.round_robin import RoundRobinTutor
from tutor_agents.schedulers.fsrs import FSRSTutor
from tutor_agents.schedulers.half_life import HalfLifeGreedyTutor
from tutor_agents.schedulers.leitner import LeitnerBoxesTutor, LeitnerQueuesTutor
from tutor_agents.schedulers.recall import MemorizeTutor, ThresholdRecallTutor
from tutor_agents.schedulers.sm2 import SM2Tutor
from tutor_agents.stay_until_correct import Credit, Modality, StayUntilCorrectTutor
from tutor_agents.thompson import ThompsonTutor
from tutor_agents.tutor import CannotTeach, Tutor
from tutor_agents.type_posterior import average_type, types_of
from tutor_agents.zpd import ZpdTutor
from tutor_agents.zpdes import Order, ZpdesTutor
from tutor_envs.errors import unknown_name
from tutor_envs.population import FiniteTypes, Population
from tutor_envs.student import StudentModel
from tutor_envs.task import TeachingTask


class NoParameters(BaseModel):
    """A tutor without parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RoundRobinParameters(NoParameters):
    """Of :class:`tutor_agents.round_robin.RoundRobinTutor`."""

    order: Literal["index", "random"] = Field(
        "index", description="by action index, or a random permutation for each student"
    )


class BestFixedParameters(NoParameters):
    """Of :func:`tutor_agents.best_fixed.search_sequence`."""

    n_students: int = Field(512, ge=1, description="training students that score a sequence")
    n_starts: int = Field(4, ge=1, description="starts of the coordinate ascent")
    max_student_steps: int = Field(10_000_000, ge=1, description="budget of simulated steps")


class StayUntilCorrectParameters(NoParameters):
    """Of :class:`tutor_agents.stay_until_correct.StayUntilCorrectTutor`."""

    modality: Modality = Field("thompson", description="how the modality is drawn")
    credit: Credit = Field(
        "previous",
        description="which practice an answer speaks for: the one before of the same skill, or "
        "the same one, where students answer after they have learned",
    )


class TypesParameters(NoParameters):
    """Of tutors that reckon with a finite set of student types."""

    n_types: int = Field(
        64,
        ge=1,
        description="training students that stand for a population that is not a small finite one",
    )


class FewTypesParameters(TypesParameters):
    """Of tutors that reckon with types, and compute a lot with each."""

    n_types: int = Field(
        16,
        ge=1,
        description="training students that stand for a population that is not a small finite one",
    )


class MasteryParameters(TypesParameters):
    """Of tutors that go by a skill's believed mastery."""

    threshold: float = Field(0.95, gt=0, le=1, description="believed mastery that ends a skill")
    student: Literal["average", "posterior"] = Field(
        "average", description="whose mastery is traced: the average student's, or the posterior's"
    )


class MasteryThresholdParameters(MasteryParameters):
    """Of :class:`tutor_agents.mastery_threshold.MasteryThresholdTutor`."""

    max_attempts: int = Field(10, ge=1, description="practices of a skill in a lesson at most")


class PrerequisitesFirstParameters(MasteryParameters):
    """Of :class:`tutor_agents.prerequisites_first.PrerequisitesFirstTutor`."""

    max_attempts: int = Field(
        10, ge=1, description="practices of a skill in a lesson before another has its turn"
    )


class ZpdParameters(MasteryParameters):
    """Of :class:`tutor_agents.zpd.ZpdTutor`."""

    target: float = Field(0.85, gt=0, lt=1, description="rate of success to aim at")


class ZpdesParameters(NoParameters):
    """Of :class:`tutor_agents.zpdes.ZpdesTutor`."""

    window: int = Field(6, ge=2, description="last answers to an item that tell of progress")
    beta: float = Field(0.2, ge=0, lt=1, description="share of a weight that is kept")
    gamma: float = Field(0.2, gt=0, le=1, description="share of exploration")
    open_above: float = Field(
        0.5, ge=0, lt=1, description="rate of success that opens what builds on an item"
    )
    close_above: float = Field(
        0.8, ge=0, le=1, description="rate of success at which an item leaves the zone"
    )
    order: Order = Field(
        "prerequisites", description="skills build on each other as declared, or by index"
    )


class WarmStartParameters(NoParameters):
    """Of tutors that can begin with what the population has shown."""

    warm_start: bool = Field(
        False, description="begin with what training students show who are taught at random"
    )
    n_students: int = Field(256, ge=1, description="training students of the warm start")


class EloMatchedParameters(WarmStartParameters):
    """Of :class:`tutor_agents.elo_matched.EloMatchedTutor`."""

    target: float = Field(0.75, gt=0, lt=1, description="rate of success to aim at")
    step: float = Field(1.0, gt=0, description="logits that a first answer moves a rating by")
    decay: float = Field(0.05, ge=0, description="how fast the steps shrink")


class MaxInformationParameters(TypesParameters):
    """Of :class:`tutor_agents.max_information.MaxInformationTutor`."""

    information: Information = Field(
        "types", description="about the student's type, or Fisher's about the ability `theta`"
    )


class BanditParameters(WarmStartParameters):
    """Of bandits over teaching actions; see :mod:`tutor_agents.bandits`."""

    reward: RewardKind = Field(
        "progress",
        description="what pays an action: its own answer, or the next answer on the same topic "
        "less its own",
    )
    prior_weight: float = Field(
        2.0, gt=0, description="rewards that the warm start counts for, for each arm"
    )


class EpsilonGreedyParameters(BanditParameters):
    """Of :class:`tutor_agents.bandits.EpsilonGreedyTutor`."""

    epsilon: float = Field(0.1, ge=0, le=1, description="share of exploration")


class Ucb1Parameters(BanditParameters):
    """Of :class:`tutor_agents.bandits.Ucb1Tutor`."""

    exploration: float = Field(2.0, ge=0, description="factor under the root of the bonus")


class LinUcbParameters(BanditParameters):
    """Of :class:`tutor_agents.linucb.LinUcbTutor`."""

    alpha: float = Field(1.0, ge=0, description="weight of the uncertainty")
    ridge: float = Field(1.0, gt=0, description="of the regression")


class LookaheadParameters(TypesParameters):
    """Of :class:`tutor_agents.lookahead.LookaheadTutor`."""

    depth: int = Field(2, ge=1, description="actions looked ahead; 1 is the myopic tutor")
    max_beliefs: int = Field(
        1_000_000, ge=1, description="beliefs looked at for one action of one student at most"
    )


class PomcpParameters(TypesParameters):
    """Of :class:`tutor_agents.pomcp.PomcpTutor`."""

    n_simulations: int = Field(
        200, ge=1, description="expansions of the tree for one action of one student"
    )
    n_rollouts: int = Field(32, ge=1, description="simulated lessons that value a new node")
    horizon: int = Field(16, ge=1, description="actions looked ahead; 1 is the myopic tutor")
    n_particles: int = Field(16, ge=1, description="types drawn from the posterior for a plan")
    exploration: float = Field(
        1.0, ge=0, description="of actions tried less often, in units of the spread of their gains"
    )


class InformedParameters(NoParameters):
    """Of oracles that plan exactly."""

    max_states: int = Field(
        2**17, ge=1, description="states that a student may reach at one step of a lesson"
    )


class BayesParameters(NoParameters):
    """Of :class:`tutor_agents.planner.BayesTutor`."""

    max_gib: float = Field(3.0, gt=0, description="memory that planning may take, in GiB")


class IntervalParameters(NoParameters):
    """Of schedulers that count intervals; see :mod:`tutor_agents.schedulers.deck`."""

    unit_days: float | None = Field(
        None,
        gt=0,
        description="days in a unit of intervals (1: real days); default: what an action takes",
    )


class LeitnerParameters(IntervalParameters):
    """Of the tutors in :mod:`tutor_agents.schedulers.leitner`."""

    system: Literal["queues", "boxes"] = Field(
        "queues", description="queues drawn at random (Reddy et al. 2016), or boxes with intervals"
    )
    arrival: float = Field(0.7, ge=0, le=1, description="queues: probability of a new card")
    intervals: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1, 2, 4, 8, 16), min_length=1, description="boxes: interval of each box, in units"
    )

    @model_validator(mode="after")
    def _check(self) -> LeitnerParameters:
        other = "intervals" if self.system == "queues" else "arrival"
        if other in self.model_fields_set:
            raise ValueError(f"`{other}` must be left out with `system: {self.system}`")
        return self


class SM2Parameters(IntervalParameters):
    """Of :class:`tutor_agents.schedulers.sm2.SM2Tutor`."""

    wrong: int = Field(2, ge=0, le=2, description="grade of a wrong answer")
    right: int = Field(4, ge=3, le=5, description="grade of a right answer")


class FSRSParameters(IntervalParameters):
    """Of :class:`tutor_agents.schedulers.fsrs.FSRSTutor`."""

    desired_retention: float = Field(0.9, gt=0, lt=1, description="recall at which a card is due")


class ThresholdRecallParameters(TypesParameters):
    """Of :class:`tutor_agents.schedulers.recall.ThresholdRecallTutor`."""

    z: float = Field(0.3, ge=0, le=1, description="predicted recall to aim at")


class _Setting(NamedTuple):
    population: Population
    task: TeachingTask
    seed: int
    device: torch.device | str

    @property
    def model(self) -> StudentModel:
        return self.population.student_model

    def types(self, n_sampled: int) -> FiniteTypes:
        return types_of(self.population, self.seed, n_sampled)


def _random(at: _Setting, _: NoParameters) -> Tutor:
    return RandomTutor(at.model)


def _round_robin(at: _Setting, given: RoundRobinParameters) -> Tutor:
    return RoundRobinTutor(at.model, order=given.order, device=at.device)


def _stay_until_correct(at: _Setting, given: StayUntilCorrectParameters) -> Tutor:
    return StayUntilCorrectTutor(at.model, **given.model_dump(), device=at.device)


def _best_fixed(at: _Setting, given: BestFixedParameters) -> Tutor:
    sequence = search_sequence(
        at.population, at.task, seed=at.seed, device=at.device, **given.model_dump()
    )
    return BestFixedTutor(sequence, device=at.device)


def _leitner(at: _Setting, given: LeitnerParameters) -> Tutor:
    if given.system == "queues":
        return LeitnerQueuesTutor(at.model, arrival=given.arrival, device=at.device)
    return LeitnerBoxesTutor(
        at.model, intervals=given.intervals, unit_days=given.unit_days, device=at.device
    )


def _sm2(at: _Setting, given: SM2Parameters) -> Tutor:
    return SM2Tutor(at.model, **given.model_dump(), device=at.device)


def _fsrs(at: _Setting, given: FSRSParameters) -> Tutor:
    return FSRSTutor(at.model, **given.model_dump(), device=at.device)


def _threshold_recall(at: _Setting, given: ThresholdRecallParameters) -> Tutor:
    types = at.types(given.n_types)
    return ThresholdRecallTutor(at.model, types, z=given.z, device=at.device)


def _memorize(at: _Setting, given: TypesParameters) -> Tutor:
    return MemorizeTutor(at.model, at.types(given.n_types), device=at.device)


def _half_life_greedy(at: _Setting, given: FewTypesParameters) -> Tutor:
    types, n_steps = at.types(given.n_types), at.task.n_steps
    return HalfLifeGreedyTutor(at.model, types, n_steps=n_steps, device=at.device)


def _believed(at: _Setting, given: MasteryParameters) -> FiniteTypes:
    types = at.types(given.n_types)
    return average_type(types) if given.student == "average" else types


def _mastery_threshold(at: _Setting, given: MasteryThresholdParameters) -> Tutor:
    own = given.model_dump(include={"threshold", "max_attempts"})
    return MasteryThresholdTutor(at.model, _believed(at, given), **own, device=at.device)


def _prerequisites_first(at: _Setting, given: PrerequisitesFirstParameters) -> Tutor:
    own = given.model_dump(include={"threshold", "max_attempts"})
    return PrerequisitesFirstTutor(at.model, _believed(at, given), **own, device=at.device)


def _zpd(at: _Setting, given: ZpdParameters) -> Tutor:
    own = given.model_dump(include={"threshold", "target"})
    return ZpdTutor(at.model, _believed(at, given), **own, device=at.device)


def _zpdes(at: _Setting, given: ZpdesParameters) -> Tutor:
    return ZpdesTutor(at.model, **given.model_dump(), device=at.device)


_WARM_START = {"warm_start", "n_students", "prior_weight"}


def _elo_matched(at: _Setting, given: EloMatchedParameters) -> Tutor:
    tutor = EloMatchedTutor(at.model, **given.model_dump(exclude=_WARM_START), device=at.device)
    if given.warm_start:
        tutor.warm_start(at.population, at.task, seed=at.seed, n_students=given.n_students)
    return tutor


def _max_information(at: _Setting, given: MaxInformationParameters) -> Tutor:
    types = at.types(given.n_types)
    return MaxInformationTutor(at.model, types, information=given.information, device=at.device)


def _bandit(
    kind: Callable[..., EpsilonGreedyTutor | Ucb1Tutor | ThompsonBanditTutor | LinUcbTutor],
) -> Callable[[_Setting, BanditParameters], Tutor]:
    def make(at: _Setting, given: BanditParameters) -> Tutor:
        tutor = kind(at.model, **given.model_dump(exclude=_WARM_START), device=at.device)
        if given.warm_start:
            weights = given.model_dump(include={"n_students", "prior_weight"})
            tutor.warm_start(at.population, at.task, seed=at.seed, **weights)
        return tutor

    return make


def _thompson(at: _Setting, given: TypesParameters) -> Tutor:
    return ThompsonTutor(at.model, at.types(given.n_types), device=at.device)


def _myopic(at: _Setting, given: TypesParameters) -> Tutor:
    return MyopicTutor(at.model, at.types(given.n_types), device=at.device)


def _bayes(at: _Setting, given: BayesParameters) -> Tutor:
    if not at.population.is_finite:
        raise CannotTeach(
            f"tutor `bayes` plans exactly and needs a finite population; `{at.population.name}` "
            "has continuous latents. Leave `bayes` out, or give every latent finitely many values."
        )
    from tutor_agents.planner import BayesTutor

    return BayesTutor(at.population, at.task, max_bytes=given.max_gib * 2**30)


def _oracle(at: _Setting, _: NoParameters) -> Tutor:
    return OracleTutor()


def _lookahead(at: _Setting, given: LookaheadParameters) -> Tutor:
    return LookaheadTutor(
        at.model,
        at.types(given.n_types),
        at.task,
        depth=given.depth,
        max_beliefs=given.max_beliefs,
        device=at.device,
    )


def _pomcp(at: _Setting, given: PomcpParameters) -> Tutor:
    options = given.model_dump(exclude={"n_types"})
    return PomcpTutor(at.model, at.types(given.n_types), at.task, **options, device=at.device)


def _oracle_plan(at: _Setting, given: InformedParameters) -> Tutor:
    check_plannable(at.model)
    return OraclePlanTutor(max_states=given.max_states)


def _clairvoyant(_: _Setting, given: InformedParameters) -> Tutor:
    return ClairvoyantTutor(max_states=given.max_states)


@dataclass(frozen=True)
class TutorKind:
    """A tutor in the registry.

    Attributes:
        description: one line for lists.
        parameters: what an experiment may set.
        make: from the setting and the validated parameters.
        predicts: it asks the student model for beliefs, predictions or expected gains.
        informed: an oracle: it reads what is hidden.
    """

    description: str
    parameters: type[NoParameters]
    make: Callable[[_Setting, Any], Tutor]
    predicts: bool = False
    informed: bool = False


TUTORS: dict[str, TutorKind] = {
    "random": TutorKind("uniform over the legal actions", NoParameters, _random),
    "round_robin": TutorKind("every practice in turn", RoundRobinParameters, _round_robin),
    "best_fixed": TutorKind(
        "the best sequence that ignores the answers, found by search on training students",
        BestFixedParameters,
        _best_fixed,
    ),
    "stay_until_correct": TutorKind(
        "one skill until an answer is right, by Thompson sampling over modalities",
        StayUntilCorrectParameters,
        _stay_until_correct,
    ),
    "mastery_threshold": TutorKind(
        "one skill after the other, each until believed mastery passes a threshold",
        MasteryThresholdParameters,
        _mastery_threshold,
        predicts=True,
    ),
    "leitner": TutorKind(
        "cards in boxes: a right answer moves a card on, a wrong one back",
        LeitnerParameters,
        _leitner,
    ),
    "sm2": TutorKind(
        "SuperMemo 2: intervals that grow by the ease of the card", SM2Parameters, _sm2
    ),
    "fsrs": TutorKind(
        "FSRS-6: reviews a card when its recall has fallen to the desired retention",
        FSRSParameters,
        _fsrs,
    ),
    "threshold_recall": TutorKind(
        "the review with the predicted recall that is nearest to z",
        ThresholdRecallParameters,
        _threshold_recall,
        predicts=True,
    ),
    "memorize": TutorKind(
        "reviews at random, the more likely the less is remembered",
        TypesParameters,
        _memorize,
        predicts=True,
    ),
    "half_life_greedy": TutorKind(
        "the review that is expected to lengthen a half-life the most",
        FewTypesParameters,
        _half_life_greedy,
        predicts=True,
    ),
    "prerequisites_first": TutorKind(
        "what is not yet mastered though its prerequisites are, skill after skill",
        PrerequisitesFirstParameters,
        _prerequisites_first,
        predicts=True,
    ),
    "zpd": TutorKind(
        "of what is to be learned, the item whose predicted success is nearest to a target",
        ZpdParameters,
        _zpd,
        predicts=True,
    ),
    "zpdes": TutorKind(
        "a bandit paid by progress within a growing zone of items",
        ZpdesParameters,
        _zpdes,
    ),
    "elo_matched": TutorKind(
        "the item whose Elo difficulty matches the student's Elo rating",
        EloMatchedParameters,
        _elo_matched,
    ),
    "max_information": TutorKind(
        "adaptive testing: the item whose answer tells most about the student",
        MaxInformationParameters,
        _max_information,
        predicts=True,
    ),
    "epsilon_greedy": TutorKind(
        "a bandit over actions: the best mean reward, now and then any action",
        EpsilonGreedyParameters,
        _bandit(EpsilonGreedyTutor),
    ),
    "ucb1": TutorKind(
        "a bandit over actions: the largest upper confidence bound of the reward",
        Ucb1Parameters,
        _bandit(Ucb1Tutor),
    ),
    "thompson_bandit": TutorKind(
        "a bandit over actions: the largest draw from each action's Beta posterior",
        BanditParameters,
        _bandit(ThompsonBanditTutor),
    ),
    "linucb": TutorKind(
        "a bandit over actions with linear confidence bounds on what was seen of the topic",
        LinUcbParameters,
        _bandit(LinUcbTutor),
    ),
    "thompson": TutorKind(
        "the best next action for a student type drawn from the posterior at every step",
        TypesParameters,
        _thompson,
        predicts=True,
    ),
    "myopic": TutorKind(
        "the largest expected gain of the next action under the posterior over types",
        TypesParameters,
        _myopic,
        predicts=True,
    ),
    "lookahead": TutorKind(
        "the largest expected gain of the next few actions, by expectimax on the posterior",
        LookaheadParameters,
        _lookahead,
        predicts=True,
    ),
    "pomcp": TutorKind(
        "Monte-Carlo tree search on the posterior, for families too big for an exact plan",
        PomcpParameters,
        _pomcp,
        predicts=True,
    ),
    "bayes": TutorKind(
        "the exact Bayes-optimal plan, for small finite populations",
        BayesParameters,
        _bayes,
        predicts=True,
    ),
    "oracle": TutorKind(
        "informed: knows latents and knowledge state, and takes the largest true gain",
        NoParameters,
        _oracle,
        predicts=True,
        informed=True,
    ),
    "oracle_plan": TutorKind(
        "informed: knows latents and knowledge state, and plans to the lesson's end, exactly",
        InformedParameters,
        _oracle_plan,
        predicts=True,
        informed=True,
    ),
    "clairvoyant": TutorKind(
        "informed: knows the luck to come, too; an upper bound of every tutor's score, exact",
        InformedParameters,
        _clairvoyant,
        predicts=True,
        informed=True,
    ),
}
"""Name -> tutor."""


def tutor_parameters(name: str, parameters: Mapping[str, Any]) -> NoParameters:
    """The validated parameters of a tutor, before any population is known.

    Raises:
        ValueError: no such tutor or parameter, or a value that is not allowed.
    """
    if name not in TUTORS:
        raise ValueError(unknown_name("tutors", name, [*TUTORS, *entry_points()]))
    kind = TUTORS[name].parameters
    for key in parameters:
        if key not in kind.model_fields:
            raise ValueError(unknown_name(f"tutors.{name}", key, kind.model_fields))
    try:
        return kind.model_validate(dict(parameters))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["tutors", name, *map(str, first["loc"])])
        message = first["msg"].removeprefix("Input ")
        raise ValueError(f"`{place}` {message}, got {first['input']!r}.") from None


def check_can_teach(name: str, population: Population) -> None:
    """Refuse a tutor that needs more of the student model than it offers.

    Raises:
        CannotTeach: the tutor needs a belief, and the model can only be simulated. (What a third
            party's tutor needs is not known.)
    """
    if name in TUTORS and TUTORS[name].predicts and not population.student_model.is_functional:
        possible = ", ".join(key for key, kind in TUTORS.items() if not kind.predicts)
        raise CannotTeach(
            f"tutor `{name}` predicts what a student will do, and student model "
            f"`{population.student}` can only be simulated: it has no belief; possible are "
            f"{possible} and learned tutors"
        )


def make_tutor(
    name: str,
    population: Population,
    task: TeachingTask,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    **parameters: Any,
) -> Tutor:
    """A tutor for this population and task; whatever it has to compute first, it computes now.

    Args:
        name: one of ``TUTORS``, or a reference to a third party's.
        population: whose students it will teach; a tutor may know it, not the students.
        task: what it will teach for.
        seed: of what the tutor prepares by simulation (sampled types, search).
        device: where it computes; must be the classroom's.
        parameters: the tutor's own; see ``TUTORS[name].parameters``.

    Raises:
        ValueError: no such tutor or parameter, a value that is not allowed, or a tutor that
            cannot teach this population.
    """
    if name not in TUTORS and is_plug_in(name):
        return make_plug_in(name, population, task, seed=seed, device=device, **parameters)
    given = tutor_parameters(name, parameters)
    check_can_teach(name, population)
    return TUTORS[name].make(_Setting(population, task, seed, device), given)
