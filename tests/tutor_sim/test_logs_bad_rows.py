"""Bad rows are named with their lines; files that are no logs are refused in one clear text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tutor_sim.logs.log import InteractionLog
from tutor_sim.logs.read import LogReport, read_log

HEAD = "student_id,order,timestamp,skill_id,item_id,correct,rating\n"


def read(folder: Path, text: str, **options: object) -> tuple[InteractionLog, LogReport]:
    path = folder / "log.csv"
    path.write_text(text)
    return read_log(path, **options)  # type: ignore[arg-type]


def test_each_bad_row_is_reported_with_line_and_reason(tmp_path: Path) -> None:
    rows = [
        "a,0,0,s,i,1,",  # line 2, good
        "a,1,1,s,i,yes,",  # 3: correct
        ",2,2,s,i,1,",  # 4: no student
        "a,3,3,s,i,0",  # 5: six columns of seven
        "a,4,4,s,,0,",  # 6: no item
        "",  # 7: blank, no row
        "a,five,5,s,i,0,",  # 8: order
        "a,6,noon,s,i,0,",  # 9: time
        "a,7,6,s,i,0,5",  # 10: rating
        "a,8,2,s,i,0,",  # 11: good
        "a,9,900,s,i,0,",  # 12: a clock that jumped: the rows after it are right
        "a,10,10,s,i,0,",  # 13: good
        "a,11,11,s,i,0.5,",  # 14: correct
        'a,12,12,s,"i\nj",0,',  # 15 and 16: good
        "a,13,13,s,i,0,9,9,9",  # 17: nine columns
        "a,14,14,s,i,0,",  # 18: good
    ]
    log, report = read(tmp_path, HEAD + "\n".join(rows) + "\n", max_bad_share=0.9)
    assert log.line.tolist() == [2, 11, 13, 15, 18]
    assert log.time_s.tolist() == [0, 2, 10, 12, 14]
    assert dict(report.bad_rows) == {
        3: "`correct` must be 0, 1 or blank, got 'yes'",
        4: "no student in `student_id`",
        5: "6 columns, the header has 7",
        6: "no item in `item_id`",
        8: "`order` must be a number, got 'five'",
        9: "`timestamp` must be a number or a date with time, got 'noon'",
        10: "`rating` must be 1 to 4, got '5'",
        12: "the time goes back against `order`",
        14: "`correct` must be 0, 1 or blank, got '0.5'",
        17: "9 columns, the header has 7",
    }
    assert report.n_bad == 10
    assert report.n_rows == len(log) + report.n_bad
    assert "left out 10 bad rows" in report.text()


def test_a_row_out_of_a_quoted_line_break_keeps_its_line(tmp_path: Path) -> None:
    text = HEAD + 'a,0,0,s,"i\n\n\nj",1,\na,1,1,s,i,no,\n' + "a,2,2,s,i,1,\n" * 3
    log, report = read(tmp_path, text, max_bad_share=0.5)
    assert report.bad_rows[0].line == 6
    assert log.line[0] == 2


def test_too_many_bad_rows_are_an_error_that_shows_the_first(tmp_path: Path) -> None:
    text = HEAD + "a,0,0,s,i,1,\n" * 17 + "a,0,0,s,i,?!,\n" * 3
    with pytest.raises(ValueError, match=r"3 of 20 rows are bad \(15.0%, allowed 5.0%\)") as error:
        read(tmp_path, text)
    assert "line 19: `correct` must be 0, 1 or blank, got '?!'" in str(error.value)
    log, _ = read(tmp_path, text, max_bad_share=0.15)
    assert len(log) == 17


def test_rows_without_order_are_sorted_by_time_then_by_line(tmp_path: Path) -> None:
    text = "student_id,timestamp,item_id,correct\n" + "b,5,x,1\nb,3,y,0\nb,5,z,0\nb,3,w,1\n"
    log, _ = read(tmp_path, text)
    assert log.line.tolist() == [3, 5, 2, 4]
    with pytest.raises(ValueError, match="must be a number or a date with time, got ''"):
        read(tmp_path, text + "b,,x,1\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("a\0b,c\n1,2\n", "not a text file"),
        ("user,thing,score\n1,2,1\n", "the columns fit no known layout: user, thing, score"),
        (HEAD, "the log has no graded answer"),
        (HEAD + "a,0,0,s,i,,\n", "the log has no graded answer"),
    ],
)
def test_files_that_are_no_logs(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_a_gzip_file_that_was_cut_off(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress((HEAD + "a,0,0,s,i,1,\n" * 99).encode())[:60])
    with pytest.raises(ValueError, match="not a complete gzip file"):
        read_log(path)


def test_wrong_names_come_with_the_nearest_right_one(tmp_path: Path) -> None:
    text = HEAD + "a,0,0,s,i,1,\n"
    with pytest.raises(ValueError, match=r"unknown `--format` 'datashpo'.*did you mean 'datashop'"):
        read(tmp_path, text, format="datashpo")
    with pytest.raises(ValueError, match=r"unknown `--map` 'studnt'.*did you mean 'student'"):
        read(tmp_path, text, mapping={"studnt": "student_id"})
    with pytest.raises(ValueError, match=r"unknown `column` 'student'.*mean 'student_id'"):
        read(tmp_path, text, mapping={"student": "student"})
    with pytest.raises(ValueError, match=r"no column for a student \(anon_student_id\)"):
        read(tmp_path, text, format="datashop")


def test_negative_response_times_are_unknown_and_said(tmp_path: Path) -> None:
    text = "student_id,item_id,correct,rt_s\na,x,1,-3\na,x,0,2.5\n"
    log, report = read(tmp_path, text)
    np.testing.assert_array_equal(log.response_time_s, [np.nan, 2.5])
    assert any("1 rows whose response time" in note for note in report.notes)
