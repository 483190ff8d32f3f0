"""Files of ratings that are off: the line is named, and what to do about it."""

import sys

import numpy as np
import pytest

from gradflow.problems._ratings_file import read_rows
from gradflow.problems.movielens import movielens_100k

GOOD = "1\t1\t5\t900\n2\t3\t4\t901\n"
OFF = {
    "NaN rating": (GOOD + "1\t2\tnan\t9\n", "line 3 has rating 'nan', which is no number; write a"),
    "infinite rating": (GOOD + "1\t2\tinf\t9\n", "line 3 has rating 'inf'"),
    "NaN timestamp": (GOOD + "1\t2\t3\tnan\n", "line 3 has timestamp 'nan'"),
    "no timestamp": (GOOD + "1\t2\t3\t\n", "line 3 has timestamp '', which is no number"),
    "late timestamp": (GOOD + "1\t2\t3\t1e300\n", r"line 3 has timestamp 1e\+300; give seconds"),
    "NaN user": (GOOD + "nan\t2\t3\t9\n", "line 3 has user 'nan'"),
    "huge user": (GOOD + "1e300\t2\t3\t9\n", r"line 3 has user 1e\+300; .* numbered from 1, with"),
    "large item": (GOOD + "1\t9999999999\t3\t9\n", r"line 3 has item 1e\+10; users and items must"),
    "user 0": (GOOD + "0\t2\t3\t9\n", "line 3 has user 0; users and items must be numbered from 1"),
    "half an item": (GOOD + "1\t2.5\t3\t9\n", "line 3 has item 2.5"),
    "text": (GOOD + "\n1\tfilm\t3\t9\n", "line 4 has item 'film', which is no number; write a fin"),
    "few columns": (GOOD + "1\t2\t3\n", "line 3 has 3 columns; write user, item, rating and times"),
    "tabs and a header": ("user\titem\trating\ttime\n" + GOOD, "line 1 .* or take the header away"),
    "double colons": ("1::2::3::900\n", "line 1 is separated by '::'; put tabs in their place"),
    "semicolons": ("1;2;3;900\n", "line 1 is separated by semicolons; put tabs in their place"),
    "semicolons and a header": ("User;Item;Rating;Timestamp\n1;2;3;9\n", "separated by semicolons"),
    "spaces": ("1 2 3 900\n", "line 1 has no tabs or commas; write user, item, rating and timest"),
    "no header": ("1,2,3,900\n", "line 1 is no header, but '1,2,3,900'; let the first line be Use"),
    "another header": (
        "userId,movieId,rating,timestamp\n1,2,3,900\n",
        "line 1 has no column User, but userId, movieId, rating, timestamp; let the first line be",
    ),
    "a header alone": ("User,Item,Rating,Timestamp\n", "has no rating below its header"),
    "nothing": ("", "line 1 is not there: the file is empty"),
    "commas, one missing": ("User,Item,Rating,Timestamp\n1,2,3\n", "line 2 has 3 columns"),
    "a long line": (GOOD + "1\t" * 10_000, "line 3 has more than 10000 bytes; give one rat"),
    "another encoding": (GOOD.encode("utf-16"), "line 1 is no text in UTF-8 .*; save the file"),
    "Latin-1": (GOOD.encode() + b"1\t2\t3\t\xe9\n", "line 3 is no text in UTF-8"),
    "bytes": (b"\x00\xff\xfe" * 100, "line 1 is no text in UTF-8"),
}


@pytest.mark.parametrize("case", OFF)
def test_a_line_that_is_off_is_named_with_the_remedy(case, tmp_path):
    text, message = OFF[case]
    path = tmp_path / "u.data"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=rf"u\.data.* {message}") as raised:
        movielens_100k(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_marks_of_encoding_and_ends_of_lines_do_not_matter(end, tmp_path):
    lines = ("User,Item,Rating,Timestamp", '1,"1",5,900', "", "2,3,4,901")
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + end.join(lines).encode())
    wanted = [[1, 1, 5, 900], [2, 3, 4, 901]]
    np.testing.assert_array_equal(read_rows(tmp_path / "a.csv"), wanted)
    (tmp_path / "a.tsv").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", end).encode())
    np.testing.assert_array_equal(read_rows(tmp_path / "a.tsv"), wanted)


@pytest.mark.skipif(sys.platform != "linux", reason="needs files with holes")
def test_a_line_without_end_takes_no_memory(tmp_path):
    with (tmp_path / "a.tsv").open("wb") as file:
        file.write(GOOD.encode())
        file.truncate(1 << 40)  # a file with a hole, which takes no room
    with pytest.raises(ValueError, match="line 3 has more than 10000 bytes"):
        read_rows(tmp_path / "a.tsv")


def test_a_matrix_too_large_to_store_is_refused(tmp_path):
    (tmp_path / "a.tsv").write_text(f"1\t2000000000\t3\t900\n{10**6}\t1\t3\t900\n")
    ratings = movielens_100k(tmp_path / "a.tsv")
    assert ratings.shape == (10**6, 2 * 10**9)
    with pytest.raises(ValueError, match=r"2\.0e\+15 entries, .* number users and items without"):
        ratings.completion()
