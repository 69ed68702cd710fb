"""Which memory a tutor has, as YAML says it: ``memory: lstm``, ``memory: {kind: lstm}``."""

from __future__ import annotations

import importlib
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tutor_agents.memories.memory import Memory


class _MemoryConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GRUConfig(_MemoryConfig):
    """See :class:`tutor_agents.memories.gru.GRUMemory`."""

    kind: Literal["gru"] = "gru"


class LSTMConfig(_MemoryConfig):
    """See :class:`tutor_agents.memories.lstm.LSTMMemory`."""

    kind: Literal["lstm"] = "lstm"


class TransformerConfig(_MemoryConfig):
    """See :class:`tutor_agents.memories.transformer.TransformerMemory`."""

    kind: Literal["transformer"] = "transformer"
    n_layers: int = Field(2, ge=1, description="blocks of attention and perceptron")
    n_heads: int = Field(4, ge=1, description="attention heads; must divide `hidden_size`")


class SNAILConfig(_MemoryConfig):
    """See :class:`tutor_agents.memories.snail.SNAILMemory`."""

    kind: Literal["snail"] = "snail"
    n_filters: int = Field(
        32, ge=1, description="features that each convolution and the attention add"
    )


class MinGRUConfig(_MemoryConfig):
    """See :class:`tutor_agents.memories.min_gru.MinGRUMemory`."""

    kind: Literal["min_gru"] = "min_gru"
    n_layers: int = Field(2, ge=1, description="blocks of recurrence and perceptron")


def _read(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


MemoryConfig = Annotated[
    GRUConfig | LSTMConfig | TransformerConfig | SNAILConfig | MinGRUConfig,
    Field(discriminator="kind"),
]
MemoryName = Literal["gru", "lstm", "transformer", "snail", "min_gru"]
NamedMemory = Annotated[
    MemoryConfig, BeforeValidator(_read, json_schema_input_type=MemoryName | MemoryConfig)
]
"""In a configuration: the name of a memory, or a mapping with its ``kind`` and its settings."""

_CLASSES = {
    "gru": "tutor_agents.memories.gru:GRUMemory",
    "lstm": "tutor_agents.memories.lstm:LSTMMemory",
    "transformer": "tutor_agents.memories.transformer:TransformerMemory",
    "snail": "tutor_agents.memories.snail:SNAILMemory",
    "min_gru": "tutor_agents.memories.min_gru:MinGRUMemory",
}


def make_memory(config: MemoryConfig, width: int, n_steps: int) -> Memory:
    """The memory that a configuration describes.

    Args:
        config: its kind and settings.
        width: of inputs and outputs, W.
        n_steps: steps of a trial, T.

    Raises:
        ValueError: the settings do not fit the width.
    """
    module, name = _CLASSES[config.kind].split(":")
    settings = config.model_dump(exclude={"kind"})
    memory: Memory = getattr(importlib.import_module(module), name)(width, n_steps, **settings)
    return memory
