"""Benchmarks: what others need for the same work, measured side by side.

Every subject (a way of doing the work: ours, or a peer's) has a process of its own, one thread and
one core; they take turns, so that whatever else the machine does befalls all alike. Figures are
steps per CPU-second; ratios are taken within a round.
"""
