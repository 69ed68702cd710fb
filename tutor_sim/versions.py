"""Versions of what a result depends on."""

from __future__ import annotations

import functools
import importlib.metadata
import platform

_PACKAGES = ("tutor-sim", "torch", "gymnasium", "numpy", "scipy", "safetensors")


@functools.cache
def versions() -> dict[str, str]:
    """Name -> version of Python and the libraries that matter; ``unknown`` where not installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found
