"""How the steps of a lesson are run: operation by operation, compiled, or as a CUDA graph.

All run the same functions (:mod:`tutor_envs.teaching_step`) on the same random numbers, so they
agree to rounding. A compiled step passes over the students once, in place of once for each
operation; :func:`torch.compile` makes it when it is first needed and keeps it on disk.
"""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Literal, get_args

import torch

from tutor_envs.errors import unknown_name

Executor = Literal["eager", "compile", "cuda_graph"]
"""``eager``: operation by operation; ``compile``: one fused function; ``cuda_graph``: the fused
function, launched as a whole by a CUDA device."""

Function = Callable[..., Any]

_chosen: ContextVar[Executor] = ContextVar("executor", default="eager")


@contextlib.contextmanager
def executing(executor: Executor) -> Iterator[None]:
    """Classrooms that are made inside it use this executor."""
    token = _chosen.set(executor)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen_executor(device: torch.device) -> Executor:
    """That of the innermost :func:`executing`; ``eager`` outside.

    Raises:
        ValueError: there is no such executor, or the device cannot do that.
    """
    executor = _chosen.get()
    if executor not in get_args(Executor):
        raise ValueError(unknown_name("executor", executor, get_args(Executor)))
    if executor == "cuda_graph" and device.type != "cuda":
        raise ValueError(f"`executor` 'cuda_graph' needs a CUDA device, got {device.type!r}")
    return executor


def executed(function: Function, executor: Executor) -> Function:
    """The function, to be run in this way.

    Args:
        function: of tensors and of constants, which are always the same objects.
        executor: how.

    Returns:
        A function that raises ValueError when it is first called and cannot be compiled.
    """
    if executor == "eager":
        return function
    mode = "reduce-overhead" if executor == "cuda_graph" else None
    compiled = torch.compile(_with_own_code(function), fullgraph=True, dynamic=False, mode=mode)
    tried: set[tuple[Any, ...]] = set()

    def run(*arguments: Any, **constants: Any) -> Any:
        if (key := tuple(constants.values())) not in tried:
            # A model's cached properties have locks (Python 3.11), which torch cannot compile.
            function(*arguments, **constants)
            tried.add(key)
        try:
            if executor == "compile":
                return compiled(*arguments, **constants)
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            # The next run of the graph writes where this one did.
            returned = compiled(*arguments, **constants)
            return torch.utils._pytree.tree_map_only(torch.Tensor, torch.clone, returned)
        except torch._dynamo.exc.TorchDynamoException as error:
            said = str(error).strip().splitlines()
            why = said[0] if said else type(error).__name__
            raise ValueError(f"`executor` {executor!r}: torch cannot compile it: {why}") from error

    return run


def _with_own_code(function: Function) -> Function:
    """A copy: torch counts (and limits) compilations by a function's code, whoever uses it."""
    assert isinstance(function, types.FunctionType)
    copy = types.FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
