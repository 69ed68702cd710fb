"""Which memory a tutor has, as it is written in YAML: ``memory: gru`` or ``{kind: gru}``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tutor_agents.memories.memory import Memory


class _MemoryConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GRUConfig(_MemoryConfig):
    """See :class:`tutor_agents.memories.gru.GRUMemory`."""

    kind: Literal["gru"] = "gru"


def _read(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


MemoryConfig = Annotated[GRUConfig, Field(discriminator="kind")]
NamedMemory = Annotated[MemoryConfig, BeforeValidator(_read)]
"""In a configuration: the name of a memory, or a mapping with its ``kind`` and its settings."""


def make_memory(config: MemoryConfig, width: int, n_steps: int) -> Memory:
    """The memory that a configuration describes, for trials of ``n_steps``."""
    from tutor_agents.memories.gru import GRUMemory

    return GRUMemory(width, n_steps)
