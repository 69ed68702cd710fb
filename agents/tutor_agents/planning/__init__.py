"""The parts of the exact planner; see :mod:`tutor_agents.planner`."""
