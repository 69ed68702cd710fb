"""A recurrent network fitted to answer logs and sampled as a student (after DKT).

Deep knowledge tracing (Piech et al. 2015, NeurIPS) turned round: the network's P(correct) is the
student's, the answer is drawn from it (never thresholded) and fed back. With H hidden units, skill
k and ability ``a`` (in SDs):

* start: ``h = tanh(start + a start_per_ability)``;
* answer: ``P(correct) = sigmoid(readout_k . h + easiness_k + a logit_per_ability_k)``;
* after an answer y, a gated recurrent unit (Cho et al. 2014, EMNLP; gates as in PyTorch) with
  ``(x_r, x_z, x_n) = input_gates[y, k]`` and ``(u_r, u_z, u_n) = recurrent h + recurrent_bias``:
  ``r = sigmoid(x_r + u_r)``, ``z = sigmoid(x_z + u_z)``, ``c = tanh(x_n + r u_n)``,
  ``h += min(1, style (1 - z)) (c - h)``.

``style`` is :func:`tutor_envs.student.style_multiplier`; at 1 this is the plain unit, and the
bound keeps h in [-1, 1]. The state is not "knowledge" alone: it carries all that earlier answers
say about later ones, a student's hidden traits included, and teaching one skill may move others.

``weights`` is a safetensors file with those eight tensors, as
:func:`tutor_sim.tracing.neural_fit.fit_neural` makes them. Its SHA-256 is part of the
configuration, so a run does not go on with other weights.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import safetensors.torch
import torch
from pydantic import Field, model_validator
from safetensors import SafetensorError
from torch import Tensor

from tutor_envs.practice import SkillPractice, index_of
from tutor_envs.student import Latents, LatentSpec, State

_BUILT_IN = Path(__file__).parents[1] / "populations"
_SHAPES = {
    "start": "H",
    "start_per_ability": "H",
    "input_gates": "2 K 3H",
    "recurrent": "3H H",
    "recurrent_bias": "3H",
    "readout": "K H",
    "easiness": "K",
    "logit_per_ability": "K",
}


class _Weights:
    """The tensors of one file; two are equal if the files are.

    Attributes:
        sha256: of the file's bytes.
        n_skills: K.
    """

    def __init__(self, path: Path) -> None:
        try:
            content = path.read_bytes()
            tensors = safetensors.torch.load(content)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"`weights`: cannot read {path}: {error}") from None
        self.sha256 = hashlib.sha256(content).hexdigest()
        empty = torch.empty(0)
        sizes = {"H": tensors.get("start", empty).numel()}
        sizes |= {"K": tensors.get("easiness", empty).numel()}
        sizes |= {"2": 2, "3H": 3 * sizes["H"]}
        for name, shape in _SHAPES.items():
            wanted = tuple(sizes[size] for size in shape.split())
            found = tuple(tensors[name].shape) if name in tensors else "nothing"
            if found != wanted or not tensors[name].isfinite().all():
                raise ValueError(
                    f"`weights`: {path} must hold finite `{name}` of shape {wanted}, got {found}"
                )
        self.n_skills = sizes["K"]
        self._copies = {(torch.device("cpu"), torch.float32): tensors}

    def on(self, like: Tensor) -> dict[str, Tensor]:
        """The tensors on the device and in the dtype of ``like``."""
        place = (like.device, like.dtype)
        if place not in self._copies:
            first = next(iter(self._copies.values()))
            self._copies[place] = {name: value.to(like) for name, value in first.items()}
        return self._copies[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Weights) and other.sha256 == self.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)


def _find(weights: str) -> Path:
    """The file as given; a name that is not there may be one that ships with the environments."""
    path = Path(weights).expanduser().absolute()
    return path if path.is_file() or not (_BUILT_IN / weights).is_file() else _BUILT_IN / weights


class Neural(SkillPractice):
    """A fitted recurrent network as a student; see the module's text for the equations."""

    name: ClassVar[str] = "neural"
    file_fields: ClassVar[tuple[str, ...]] = ("weights",)

    weights: str = Field("neural.safetensors", description="safetensors file of the network")
    weights_sha256: str = Field("", description="of that file; filled in, and checked if given")

    @model_validator(mode="before")
    @classmethod
    def _read_sizes(cls, data: Any) -> Any:
        """``n_skills`` and the hash are the file's where they are not given.

        The path is made absolute, so that it holds anywhere; a file that ships has a bare name.
        """
        if not isinstance(data, dict):
            return data
        weights = data.get("weights", cls.model_fields["weights"].default)
        if not isinstance(weights, str):
            return data
        path = _find(weights)
        read = _Weights(path)
        return {
            **data,
            "weights": path.name if path.parent == _BUILT_IN else str(path),
            "n_skills": data.get("n_skills", read.n_skills),
            "weights_sha256": data.get("weights_sha256") or read.sha256,
        }

    @cached_property
    def _weights(self) -> _Weights:
        return _Weights(_find(self.weights))

    @model_validator(mode="after")
    def _read_weights(self) -> Self:
        if self.n_skills != self._weights.n_skills:
            raise ValueError(
                f"`n_skills` must be {self._weights.n_skills}, as in {self.weights}, "
                f"got {self.n_skills}"
            )
        if self.weights_sha256 != self._weights.sha256:
            raise ValueError(
                f"`weights`: {self.weights} has changed: its SHA-256 is {self._weights.sha256}, "
                f"and `weights_sha256` is {self.weights_sha256}"
            )
        return self

    @property
    def latent_specs(self) -> dict[str, LatentSpec]:
        """The common latents."""
        return self._common_latents()

    def begin_lesson(self, latents: Latents, uniforms: Tensor) -> State:
        """Hidden units ``(n, H)``, in [-1, 1]."""
        ability = latents["ability"].unsqueeze(-1)
        weights = self._weights.on(ability)
        return {"hidden": torch.tanh(weights["start"] + ability * weights["start_per_ability"])}

    def p_correct(self, latents: Latents, state: State) -> Tensor:
        """Sigmoid of the readout and the student's easiness."""
        ability = latents["ability"].unsqueeze(-1)
        weights = self._weights.on(ability)
        logit = state["hidden"] @ weights["readout"].T + weights["easiness"]
        return torch.sigmoid(logit + ability * weights["logit_per_ability"])

    def practise(
        self, latents: Latents, state: State, practised: Tensor, correct: Tensor, style: Tensor
    ) -> State:
        """One step of the gated recurrent unit, its length scaled by the style."""
        hidden = state["hidden"]
        weights = self._weights.on(hidden)
        n_gates = 2 * hidden.shape[-1]  # of r and z, which come before c
        answer = (correct * self.n_skills + index_of(practised)).squeeze(-1)
        x, recurrent = weights["input_gates"].flatten(0, 1), weights["recurrent"].T
        bias = weights["recurrent_bias"]
        gates = (x[:, :n_gates] + bias[:n_gates])[answer]
        reset, keep = gates.addmm_(hidden, recurrent[:, :n_gates]).sigmoid_().chunk(2, -1)
        u = torch.addmm(bias[n_gates:], hidden, recurrent[:, n_gates:])
        candidate = x[:, n_gates:][answer].addcmul_(reset, u).tanh_()
        length = (style * (1 - keep)).clamp(max=1)
        return {"hidden": torch.lerp(hidden, candidate, length)}
