"""Who teaches: RL², planners, heuristics, oracles."""
