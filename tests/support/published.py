"""The programs of ``experiments/published``, which import each other as scripts do."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "experiments" / "published"


def load_published(name: str) -> ModuleType:
    """The program of this name as a module."""
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    return importlib.import_module(name)
