"""What is written is read back; the real files hold what their description says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tutor_sim.files import SaveError
from tutor_sim.logs.log import InteractionLog
from tutor_sim.logs.read import read_log
from tutor_sim.logs.write import write_log

DATA = Path(__file__).parents[3] / "shared" / "data"
FIELDS = ("student", "item", "skill", "correct", "time_s", "response_time_s", "rating")
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters=";\0\r", exclude_categories=["Cs", "Cc", "Z"]),
    min_size=1,
    max_size=4,
).filter(lambda name: name not in {".", "?"})


@st.composite
def logs(draw: st.DrawFn) -> InteractionLog:
    """Logs in which every student, item and skill is used."""
    n_students, n_items = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = n_students * n_items * draw(st.integers(1, 3))
    student = np.repeat(np.arange(n_students), n // n_students)
    item = np.tile(np.arange(n_items), n // n_items)
    skill_names = sorted(draw(st.sets(NAMES, min_size=n_items, max_size=n_items)))
    item_names = sorted(draw(st.sets(NAMES, min_size=n_items, max_size=n_items)))
    if all(name.isascii() and name.isdigit() for name in (*skill_names, *item_names)):
        skill_names = item_names = [f"k{i}" for i in range(n_items)]
    time_s = np.concatenate(
        [[0, *rng.exponential(1e4, n // n_students - 1).cumsum().round(3)]] * n_students
    )
    correct = rng.choice([0.0, 1.0, np.nan], n)
    correct[0] = 1
    seconds = rng.choice([np.nan, 0.25, 3.0], n)
    more = {int(row): (int(item[row]), n_items - 1) for row in range(0, n, 2)}
    return InteractionLog(
        student=student,
        item=item,
        skill=item.copy(),
        more_skills={row: s for row, s in more.items() if s[0] != s[1]},
        correct=correct,
        time_s=time_s,
        response_time_s=seconds,
        rating=rng.integers(0, 5, n),
        line=np.arange(n) + 2,
        student_names=tuple(map(str, range(n_students))),
        item_names=tuple(item_names),
        skill_names=tuple(skill_names),
    )


def assert_same(a: InteractionLog, b: InteractionLog) -> None:
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(a, field), getattr(b, field), err_msg=field)
    assert (a.item_names, a.skill_names) == (b.item_names, b.skill_names)
    assert a.more_skills == b.more_skills


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(log=logs(), suffix=st.sampled_from([".csv", ".csv.gz"]))
def test_a_written_log_is_read_back(tmp_path: Path, log: InteractionLog, suffix: str) -> None:
    path = tmp_path / f"log{suffix}"
    write_log(log, path)
    again, report = read_log(path)
    assert not report.bad_counts
    assert_same(log, again)
    data = path.read_bytes()
    write_log(again, path)
    assert path.read_bytes() == data


def test_a_log_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("student_id,item_id,correct\na,x;y,1\n")
    log, _ = read_log(path)
    with pytest.raises(ValueError, match="names of skills must not hold ';', got 'x;y'"):
        write_log(log, tmp_path / "out.csv")
    path.write_text("student_id,item_id,correct\na,x,1\n")
    with pytest.raises(SaveError, match="nothing was changed"):
        write_log(read_log(path)[0], tmp_path / "nowhere" / "out.csv")


# Rows, students, items, skills, graded rows, share correct in per cent: counted with zcat and awk.
REAL = {
    "stats_cloze": (58_316, 478, 72, 18, 55_122, 54.51),
    "spanish37": (103_561, 37, 409, 221, 103_561, 75.11),
    "anki_josh": (12_580, 1, 1_205, 1_205, 12_580, 70.78),
    "spatial_rotation": (17_500, 350, 50, 4, 17_500, 74.76),
    "probability_prepost": (10_188, 504, 24, 4, 10_188, 79.81),
    "flocs_maze": (549, 129, 49, 24, 549, 60.66),
}


@pytest.mark.skipif(not DATA.is_dir(), reason="the real logs are not here")
@pytest.mark.parametrize("name", REAL)
def test_real_files(name: str) -> None:
    log, report = read_log(DATA / f"{name}.csv.gz")
    *counts, share = REAL[name]
    found = (report.n_kept, report.n_students, report.n_items, report.n_skills, report.n_graded)
    assert list(found) == counts
    assert 100 * report.share_correct == pytest.approx(share, abs=0.006)
    assert report.n_rows == len(log)
    assert not report.bad_counts
