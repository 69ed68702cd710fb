"""Tells a mistake that the user can mend, and is told in one message, from one in the program."""

from __future__ import annotations

_OUR_PACKAGES = ("tutor_sim", "tutor_agents", "tutor_envs")


def raised_by_us(error: BaseException) -> bool:
    """The ``raise`` stands in one of our packages: its text is meant to be read."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__"))
    return module.partition(".")[0] in _OUR_PACKAGES
