"""The built-in student models, one file each, known by name.

A file here that defines a student model is in the catalogue; nothing else has to be listed.
"""

from __future__ import annotations

import importlib
import pkgutil

from tutor_envs.student import StudentModel


def _catalogue() -> dict[str, type[StudentModel]]:
    modules = [m.name for m in pkgutil.iter_modules(__path__, f"{__name__}.")]
    found = [(name, v) for name in modules for v in vars(importlib.import_module(name)).values()]
    return {
        value.name: value
        for module, value in found
        if isinstance(value, type)
        and issubclass(value, StudentModel)
        and value.__module__ == module
        and "name" in vars(value)
    }


STUDENT_MODELS = _catalogue()
"""Name -> class of every built-in student model."""
