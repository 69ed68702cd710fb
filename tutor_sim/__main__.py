"""``python -m tutor_sim`` is the command ``tutor-sim``; so is ``torchrun -m tutor_sim``."""

from tutor_sim.cli import main

main()
