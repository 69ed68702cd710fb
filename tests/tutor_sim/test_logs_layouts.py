"""Every column layout is recognised from its header and read to the same kind of log."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tutor_sim.logs.log import InteractionLog
from tutor_sim.logs.read import LogReport, read_log


def read(
    folder: Path, text: str, name: str = "log.csv", **options: object
) -> tuple[InteractionLog, LogReport]:
    path = folder / name
    path.write_bytes(text.encode())
    return read_log(path, **options)  # type: ignore[arg-type]


OURS = """\
student_id,order,timestamp,gap_seconds,skill_id,item_id,correct,rating,rt_ms,name
10,1,60.5,60.5,b;a,i2,0,1,2500,Ann
9,0,100,,a,i1,1,3,1500,Bob
10,0,0,,a,i1,,,,Ann
9,1,130,30,a,i10,1,4,,Bob
"""


def test_our_own_schema(tmp_path: Path) -> None:
    log, report = read(tmp_path, OURS)
    # Students 9 and 10 in the order of their numbers; each one's clock starts at its first row.
    assert log.student.tolist() == [0, 0, 1, 1]
    assert log.line.tolist() == [3, 5, 4, 2]
    assert log.item_names == ("i1", "i10", "i2")
    assert log.item.tolist() == [0, 1, 0, 2]
    assert log.skill_names == ("a", "b")
    assert log.skill.tolist() == [0, 0, 0, 1]
    assert log.more_skills == {3: (1, 0)}
    np.testing.assert_array_equal(log.correct, [1, 1, np.nan, 0])
    np.testing.assert_array_equal(log.time_s, [0, 30, 0, 60.5])
    np.testing.assert_array_equal(log.response_time_s, [1.5, np.nan, np.nan, 2.5])
    assert log.rating.tolist() == [3, 4, 0, 1]
    assert (report.format, report.n_rows, report.n_kept, report.n_graded) == ("tutor_sim", 4, 4, 3)
    assert report.share_correct == pytest.approx(2 / 3)
    # What was not asked for was not read: `name` is in no field.
    assert "name" not in report.columns.values()


def test_students_are_hashed_with_a_salt_of_the_run(tmp_path: Path) -> None:
    names = [read(tmp_path, OURS)[0].student_names for _ in range(2)]
    assert names[0] != names[1]
    assert not {"9", "10"} & set(names[0])
    salted = [read(tmp_path, OURS, salt=b"s")[0].student_names for _ in range(2)]
    assert salted[0] == salted[1]
    assert salted[0] != read(tmp_path, OURS, salt=b"t")[0].student_names


def test_gzip_tabs_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    plain = read(tmp_path, OURS, salt=b"")[0]
    text = "\ufeff" + OURS.replace(",", "\t").replace("\n", "\r\n")
    path = tmp_path / "log.tsv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    log = read_log(path, salt=b"")[0]
    for field in ("student", "item", "skill", "correct", "time_s", "rating", "line"):
        np.testing.assert_array_equal(getattr(log, field), getattr(plain, field))
    assert (log.student_names, log.more_skills) == (plain.student_names, plain.more_skills)


def test_gaps_stand_in_for_times_and_rows_may_come_without_skills(tmp_path: Path) -> None:
    text = "student_id,item_id,correct,gap_seconds\na,x,1,\na,x;y,0,10\nb,x,1,7\na,x,1,5\n"
    log, report = read(tmp_path, text)
    assert log.time_s.tolist() == [0, 10, 15, 0]
    assert log.skill_names == log.item_names == ("x", "x;y")
    assert log.skill.tolist() == log.item.tolist()
    assert any("each item is taken as a skill" in note for note in report.notes)


def test_assistments_2009_merges_the_rows_of_one_answer(tmp_path: Path) -> None:
    log, report = read(
        tmp_path,
        """\
order_id,assignment_id,user_id,assistment_id,problem_id,original,correct,attempt_count,\
ms_first_response,tutor_mode,skill_id,skill_name
33022537,1,64525,33,51424,1,1,1,32454,tutor,1,Box
33022709,1,64525,34,51435,1,0,1,4922,tutor,1,Box
33022709,1,64525,34,51435,1,0,1,4922,tutor,7,Mean
35450204,1,70363,35,51460,1,0,2,42000,tutor,,
""",
    )
    assert report.format == "assistments"
    assert log.student.tolist() == [0, 0, 1]
    assert log.correct.tolist() == [1, 0, 0]
    assert log.skill_names == ("(none)", "1", "7")
    assert log.more_skills == {1: (1, 2)}
    assert log.response_time_s.tolist() == [32.454, 4.922, 42]
    assert np.isnan(log.time_s).all()
    assert any("merged 1 rows" in note for note in report.notes)


def test_assistments_2012_and_2017_have_times(tmp_path: Path) -> None:
    log, _ = read(
        tmp_path,
        """\
problem_log_id,skill,problem_id,user_id,start_time,end_time,correct,ms_first_response_time
7,Area,12,5,2012-09-28 15:11:27.500,2012-09-28 15:12:00,0,4500
6,Area,11,5,2012-09-28 15:11:26,2012-09-28 15:11:27,1,1000
""",
    )
    assert log.correct.tolist() == [1, 0]
    assert log.time_s.tolist() == [0, 1.5]
    log, _ = read(
        tmp_path,
        "studentId,skill,problemId,correct,startTime,timeTaken\n8,area,3,1,1096470301,67\n"
        "8,area,4,0,1096470369,3\n",
    )
    assert log.time_s.tolist() == [0, 68]
    assert log.response_time_s.tolist() == [67, 3]


def test_datashop_transactions(tmp_path: Path) -> None:
    columns = (
        "Anon Student Id\tTime\tProblem Name\tStep Name\tAttempt At Step\tOutcome\t"
        "KC (Default)\tKC Category (Default)\tKC (Default)\tKC Category (Default)"
    )
    rows = [
        "Stu_b\t2006-01-02 10:00:30.5\tP1\ts1\t1\tHINT\tadd\t\t\t",
        "Stu_b\t2006-01-02 10:00:00.0\tP0\ts1\t1\tCORRECT\tadd\t\tcarry\t",
        "Stu_b\t2006-01-02 10:00:40.0\tP1\ts1\t2\tCORRECT\tadd\t\t\t",
        "Stu_a\t2006-01-02 09:00:00.0\tP1\ts1\t1\tINCORRECT\tadd\t\t\t",
    ]
    log, report = read(tmp_path, "\n".join([columns, *rows]) + "\n", "export.txt")
    assert report.format == "datashop"
    assert log.item_names == ("P0 / s1", "P1 / s1")
    assert log.correct.tolist() == [0, 1, 0]
    assert log.time_s.tolist() == [0, 0, 30.5]
    assert log.skill_names == ("add", "carry")
    assert log.more_skills == {1: (0, 1)}
    assert "skipped 1 rows that are later attempts at the same step" in report.notes


def test_kdd_cup_joins_skills_by_two_tildes(tmp_path: Path) -> None:
    text = (
        "Row\tAnon Student Id\tProblem Name\tStep Name\tFirst Transaction Time\t"
        "Correct First Attempt\tKC(SubSkills)\tOpportunity(SubSkills)\n"
        "1\ts\tP\tx\t2005-09-09 12:24:35.0\t0\tadd~~carry\t1~~1\n"
        "2\ts\tP\ty\t2005-09-09 12:25:15.0\t1\t\t\n"
    )
    log, _ = read(tmp_path, text)
    assert log.correct.tolist() == [0, 1]
    assert log.skill_names == ("(none)", "add", "carry")
    assert log.more_skills == {0: (1, 2)}
    assert log.time_s.tolist() == [0, 40]


def test_lkt_keeps_study_trials(tmp_path: Path) -> None:
    log, report = read(
        tmp_path,
        """\
Anon.Student.Id,Problem.Name,CF..Time..,Outcome,KC..Default..,CF..Stimulus.Version.,Duration..sec.
s1,p,1000,STUDY,mean,0,3
s1,p,1020.5,CORRECT,mean,1,4.5
s1,p,1050,INCORRECT,mean,1,2
""",
    )
    assert report.format == "lkt"
    np.testing.assert_array_equal(log.correct, [np.nan, 1, 0])
    assert log.item_names == ("mean / 0", "mean / 1")
    assert log.time_s.tolist() == [0, 20.5, 50]
    assert log.response_time_s.tolist() == [3, 4.5, 2]


def test_anki_reviews_are_correct_above_again(tmp_path: Path) -> None:
    log, report = read(
        tmp_path,
        """\
id,cid,usn,ease,ivl,lastIvl,factor,time,type
1500000100000,7,-1,1,1,0,2500,9000,0
1500000000000,7,-1,3,1,0,2500,5000,0
1500000000500,8,-1,0,1,0,2500,0,4
1500000003000,8,-1,2,1,0,2500,1000,0
""",
    )
    assert report.format == "anki"
    assert log.n_students == 1
    assert log.rating.tolist() == [3, 2, 1]
    assert log.correct.tolist() == [1, 1, 0]
    assert log.time_s.tolist() == [0, 3, 100]
    assert log.response_time_s.tolist() == [5, 1, 9]
    assert "skipped 1 rows that are no reviews (rating 0)" in report.notes


def test_fsrs_reviews_have_dates_and_zones(tmp_path: Path) -> None:
    log, _ = read(
        tmp_path,
        """\
card_id,review_rating,review_state,review_datetime,review_duration
3,3,1,2024-03-29 12:00:00+00:00,1500
3,1,2,2024-03-30 13:00:00+01:00,2500
""",
    )
    assert log.time_s.tolist() == [0, 86400]
    assert log.response_time_s.tolist() == [1.5, 2.5]
    assert log.correct.tolist() == [1, 0]


PYKT_TEXT = """\
u2,3
10,11,10
1,1_4,1
1,0,1
5000,6000,9500
NA
u1,1
11
4
0
1000
700
"""


def test_pykt_text_blocks(tmp_path: Path) -> None:
    log, report = read(tmp_path, PYKT_TEXT, "data.txt")
    assert report.format == "pykt"
    assert log.student.tolist() == [0, 1, 1, 1]
    assert log.item_names == ("10", "11")
    assert log.item.tolist() == [1, 0, 1, 0]
    assert log.correct.tolist() == [0, 1, 0, 1]
    assert log.more_skills == {2: (0, 1)}
    assert log.time_s.tolist() == [0, 0, 1, 4.5]
    assert log.response_time_s[0] == 0.7


def test_pykt_csv_leaves_padding_out_and_joins_repeats(tmp_path: Path) -> None:
    text = (
        "fold,uid,questions,concepts,responses,timestamps,selectmasks,is_repeat\n"
        '0,a,"5,5,6,-1","1,2,1,-1","1,1,0,-1","0,0,2000,-1","1,1,1,-1","0,1,0,-1"\n'
        '0,a,"7,-1,-1,-1","2,-1,-1,-1","1,-1,-1,-1","3000,-1,-1,-1","1,-1,-1,-1","0,-1,-1,-1"\n'
    )
    log, report = read(tmp_path, text)
    assert report.format == "pykt"
    assert log.item_names == ("5", "6", "7")
    assert log.correct.tolist() == [1, 0, 1]
    assert log.more_skills == {0: (0, 1)}
    assert log.time_s.tolist() == [0, 2, 3]


def test_columns_can_be_named_by_hand(tmp_path: Path) -> None:
    text = "who,what,right,when,email\nx,q,yes,0,x@y\nx,q,1,5,x@y\n"
    log, report = read(
        tmp_path,
        text,
        mapping={"student": "who", "item": "what", "correct": "right", "time": "when"},
        max_bad_share=0.5,
    )
    assert report.format == "mapped"
    assert len(log) == 1
    assert report.bad_rows[0].line == 2
    # One field of a known layout may be replaced, too.
    log, _ = read(tmp_path, OURS, mapping={"student": "name"})
    assert log.time_s.tolist() == [0, 60.5, 0, 30]
