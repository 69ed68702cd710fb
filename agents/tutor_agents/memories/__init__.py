"""The memories that a tutor may have."""

from __future__ import annotations

from tutor_agents.memories.config import MemoryConfig, NamedMemory, make_memory
from tutor_agents.memories.memory import Embedded, Memory, MemoryState

__all__ = ["Embedded", "Memory", "MemoryConfig", "MemoryState", "NamedMemory", "make_memory"]
