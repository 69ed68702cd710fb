"""What a user can choose about tutors that adapt by gradient steps; one preset per algorithm."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from tutor_agents.engine.config import PPOConfig
from tutor_agents.maml.networks import GradientShape, InnerSignal, InnerSurrogate
from tutor_envs.student import StudentModel
from tutor_envs.task import TeachingTask

_MOST_LESSONS_NEEDED = 2


class GradientConfig(PPOConfig):
    """Settings that the whole family shares; see the presets below for defaults."""

    no_part: ClassVar[tuple[str, ...]] = ()
    """Fields without effect in a preset; they must keep their default there."""
    rule: ClassVar[Literal["meta", "reptile", "pooled"]] = "meta"
    """How the common weights are trained: through adaptation, towards it, or without it."""

    algorithm: Literal[
        "maml", "emaml", "promp", "meta_sgd", "cavia", "fomaml", "reptile", "finetune"
    ]
    n_trials: int = Field(128, ge=1, description="students taught per update, one trial each")
    hidden_size: int = Field(32, ge=1, description="width of the two hidden layers")
    inner_learning_rate: float = Field(
        1.0, gt=0, description="alpha: size of the gradient step after a lesson"
    )
    inner_signal: InnerSignal = Field(
        "learned",
        description="what the inner step makes likelier: by a learned advantage, the shown score, "
        "or right answers; never the training reward",
    )
    adapt_lessons: int | None = Field(
        None, ge=1, description="adapt after each of the first so many lessons; null: all but last"
    )
    inner_surrogate: InnerSurrogate = Field(
        "score", description="what the inner step differentiates: log p A, or Loaded DiCE"
    )
    dice_lambda: float = Field(
        0.0, ge=0, le=1, description="Loaded DiCE: 0 is low-variance curvature, 1 is DiCE"
    )
    first_order: bool = Field(False, description="leave out second derivatives")
    learned_step_sizes: bool = Field(
        False, description="one step size per weight, learned; alpha is where they start"
    )
    context_size: int = Field(
        0, ge=0, description="only a context of this many numbers adapts; 0: all weights"
    )
    sampling_credit: bool = Field(
        False, description="actions of a lesson are credited with the lessons after it (E-MAML)"
    )
    beta: float = Field(
        1.0, gt=0, description="weight of each lesson after the first; .inf: these alone"
    )
    outer: Literal["ppo", "trpo"] = Field("ppo", description="the step on the outer objective")
    kl_target: float = Field(
        0.05, gt=0, description="ppo: what the weight of the KL penalty follows, per update"
    )
    kl_weight: float = Field(
        5e-4, ge=0, description="ppo: the penalty's weight at the start; 0: no penalty, ever"
    )
    trust_region: float = Field(0.01, gt=0, description="trpo: largest KL of an update")

    @model_validator(mode="after")
    def _check(self) -> GradientConfig:
        fields = type(self).model_fields
        for name in self.no_part:
            if getattr(self, name) != fields[name].default:
                raise ValueError(f"`{name}` plays no part in `{self.algorithm}`: leave it out")
        if self.inner_surrogate != "loaded_dice" and self.dice_lambda != 0:
            raise ValueError(
                f"`dice_lambda` plays no part where `inner_surrogate` is '{self.inner_surrogate}': "
                "leave it out, or choose 'loaded_dice'"
            )
        if self.rule != "meta" and self.inner_signal == "learned":
            raise ValueError(
                f"`inner_signal` must be 'score' or 'answers' in `{self.algorithm}`, which does "
                "not train through adaptation, got 'learned'"
            )
        return self

    def check_task(self, task: TeachingTask) -> None:
        """Refuse a task that this cannot be trained on.

        Raises:
            ValueError: too few lessons, or a score that no tutor is shown.
        """
        if task.n_lessons < _MOST_LESSONS_NEEDED:
            raise ValueError(
                f"`task.n_lessons` must be >= {_MOST_LESSONS_NEEDED} for `{self.algorithm}`, "
                f"which adapts between lessons, got {task.n_lessons}"
            )
        if self.adapt_lessons is not None and self.adapt_lessons >= task.n_lessons:
            raise ValueError(
                f"`adapt_lessons` must be < `task.n_lessons`, "
                f"got {self.adapt_lessons} and {task.n_lessons}"
            )
        if self.inner_signal == "score" and not task.show_score:
            raise ValueError(
                "`inner_signal` must not be 'score' where the task does not show it: "
                "set `task.show_score`, or choose 'learned' or 'answers'"
            )

    def shape(self, model: StudentModel, task: TeachingTask) -> GradientShape:
        """The networks for a student model's actions and responses and a task's clock."""
        adapting = task.n_lessons - 1 if self.adapt_lessons is None else self.adapt_lessons
        return GradientShape(
            n_actions=model.n_actions,
            n_responses=model.n_responses,
            n_steps=task.n_steps,
            n_signals=len(model.signal_names),
            n_adapting=adapting,
            explores=self.rule == "meta",
            hidden_size=self.hidden_size,
            context_size=self.context_size,
            inner_signal=self.inner_signal,
            inner_surrogate=self.inner_surrogate,
            dice_lambda=self.dice_lambda,
            inner_learning_rate=self.inner_learning_rate,
            learned_step_sizes=self.learned_step_sizes,
            discount=self.discount,
            gae_lambda=self.gae_lambda,
        )


def _told(name: str) -> str | None:
    """What the family says of a field that a preset gives another default."""
    return GradientConfig.model_fields[name].description


class MAMLConfig(GradientConfig):
    """MAML with policy gradients (Finn, Abbeel & Levine 2017, arXiv 1703.03400)."""

    algorithm: Literal["maml"] = "maml"


class EMAMLConfig(GradientConfig):
    """E-MAML: lessons are credited with what they teach the tutor (arXiv 1803.01118)."""

    algorithm: Literal["emaml"] = "emaml"
    sampling_credit: bool = Field(True, description=_told("sampling_credit"))


class ProMPConfig(GradientConfig):
    """ProMP: low-variance curvature, PPO with KL control (arXiv 1810.06784)."""

    algorithm: Literal["promp"] = "promp"
    inner_surrogate: InnerSurrogate = Field("loaded_dice", description=_told("inner_surrogate"))


class MetaSGDConfig(GradientConfig):
    """Meta-SGD: the step size of every weight is learned (arXiv 1707.09835)."""

    algorithm: Literal["meta_sgd"] = "meta_sgd"
    learned_step_sizes: bool = Field(True, description=_told("learned_step_sizes"))


class CAVIAConfig(GradientConfig):
    """CAVIA: only a small context adapts (arXiv 1810.03642)."""

    algorithm: Literal["cavia"] = "cavia"
    context_size: int = Field(8, ge=1, description=_told("context_size"))
    inner_learning_rate: float = Field(10.0, gt=0, description=_told("inner_learning_rate"))


class FOMAMLConfig(GradientConfig):
    """First-order MAML (arXiv 1703.03400, section 5.2)."""

    algorithm: Literal["fomaml"] = "fomaml"
    first_order: bool = Field(True, description=_told("first_order"))


_OF_META = (
    "inner_surrogate",
    "dice_lambda",
    "first_order",
    "learned_step_sizes",
    "context_size",
    "sampling_credit",
    "beta",
)
_OF_OUTER = ("outer", "kl_target", "kl_weight", "trust_region")
_OF_PPO = ("clip", "epochs", "minibatches", "entropy_weight", "value_weight", "critic")


class ReptileConfig(GradientConfig):
    """Reptile: the weights move towards where adaptation led (arXiv 1803.02999)."""

    rule: ClassVar[Literal["meta", "reptile", "pooled"]] = "reptile"
    no_part: ClassVar[tuple[str, ...]] = (*_OF_META, *_OF_OUTER, *_OF_PPO)
    algorithm: Literal["reptile"] = "reptile"
    inner_signal: InnerSignal = Field("answers", description=_told("inner_signal"))
    inner_learning_rate: float = Field(3.0, gt=0, description=_told("inner_learning_rate"))


class FinetuneConfig(GradientConfig):
    """PPO on all students alike; only the deployed tutor takes gradient steps."""

    rule: ClassVar[Literal["meta", "reptile", "pooled"]] = "pooled"
    no_part: ClassVar[tuple[str, ...]] = _OF_META
    algorithm: Literal["finetune"] = "finetune"
    inner_signal: InnerSignal = Field("answers", description=_told("inner_signal"))
    inner_learning_rate: float = Field(3.0, gt=0, description=_told("inner_learning_rate"))
