"""One subject's process: does a round whenever a line arrives, and answers with its figures.

``python -m tutor_sim.bench.worker MAKE SETTINGS``; the answers are lines of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

from tutor_sim.bench.job import load

_KIB_IN_GIB = 2**20


def main(make: str, settings: str) -> None:
    """Set up, say so, then work line by line until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    started_s = time.process_time()
    job = load(make)(**json.loads(settings))
    job.prepare(0)
    job.work()  # compiles what is compiled, touches all memory
    print(json.dumps({"setup_cpu_s": time.process_time() - started_s}), file=answers, flush=True)
    for round_, _ in enumerate(sys.stdin, start=1):
        job.prepare(round_)
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        work = job.work()
        figures = {
            "cpu_s": time.process_time() - cpu_s,
            "wall_s": time.perf_counter() - wall_s,
            "peak_gib": _peak_kib() / _KIB_IN_GIB,
            **work._asdict(),
        }
        print(json.dumps(figures), file=answers, flush=True)


def _peak_kib() -> int:
    """Of this process alone: on Linux ``ru_maxrss`` begins with what its parent held."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["VmHWM"].split()[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
