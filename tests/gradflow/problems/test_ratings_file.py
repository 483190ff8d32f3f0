"""Files of ratings: whatever they look like, they are read right, or a line is named."""

import sys

import numpy as np
import pytest

import gradflow as gf

ROWS = [(196, 242, 3, 881250949), (186, 302, 4.5, 891717742), (196, 377, 0.5, 878887116)]


def table(separator, header="", rows=ROWS, columns=(0, 1, 2, 3), end="\n"):
    lines = [separator.join(str(row[k]) for k in columns) for row in rows]
    return end.join([header, *lines] if header else lines) + end


QUOTED = '"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n"276726";"0155061224";"5"\n'
NETFLIX = "1:\n1488844,3,2005-09-06\n822109,5,2005-05-13\n2:\n822109,4,2005-10-19\n"
READ = {
    "MovieLens 100K": (table("\t"), {}),
    "MovieLens 1M": (table("::"), {}),
    "MovieLens 32M": (table(",", "userId,movieId,rating,timestamp"), {}),
    "another order": (table(",", "Timestamp,Rating,User,Item", columns=(3, 2, 0, 1)), {}),
    "semicolons and a header": (table(";", "user;item;rating;timestamp"), {}),
    "bars": (table("|"), {}),
    "blanks": ("  196 242  3 881250949\n186 302 4.5 891717742 \n196 377 .5 878887116\n", {}),
    "own separator": (table(" - "), {"separator": " - "}),
    "own names": (table(",", "who,what,how,when"),
                  {"user": "who", "item": "what", "rating": "how", "timestamp": "when"}),
    "own places": (table(",", columns=(3, 2, 0, 1)),
                   {"user": 2, "item": 3, "rating": 1, "timestamp": 0}),
    "own places below a header": (table(",", "a,b,c,d"),
                                  {"user": 0, "item": 1, "rating": 2, "timestamp": 3}),
    "more columns": (table("\t", "user\titem\trating\ttimestamp\tnote", [(*r, "x") for r in ROWS],
                           (0, 1, 2, 3, 4)), {}),
    "ends of Windows": (table("\t", end="\r\n"), {}),
    "ends of old Macs": (table("\t", end="\r"), {}),
    "no last end": (table("\t").rstrip(), {}),
    "blank lines": ("\n" + table("\t").replace("\n", "\n \n"), {}),
    "BOM": (b"\xef\xbb\xbf" + table(",", "userId,movieId,rating,timestamp").encode(), {}),
    "UTF-16": (table("\t").encode("utf-16"), {}),
    "UTF-32": (table("\t").encode("utf-32"), {}),
    "Latin-1": (table(",", "user,item,rating,timestamp,é", [(*r, "é") for r in ROWS],
                      (0, 1, 2, 3, 4)).encode("latin-1"), {"encoding": "latin-1"}),
    "quotes": ('196,"242","3",881250949\n186,302,4.5,"891717742"\n"196",377,0.5,878887116\n', {}),
    "BOM where an encoding is named": (
        b"\xef\xbb\xbf" + table(",").encode(), {"encoding": "utf-8"}),
    "numbers of pandas": (table("\t").replace("242", "242.0").replace("881250949", "881250949.0"),
                          {}),
}  # fmt: skip


def written(tmp_path, content, name="ratings.txt"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("case", READ)
def test_a_file_of_any_kind_is_read(case, tmp_path):
    content, asked = READ[case]
    found = gf.read_ratings(written(tmp_path, content), **asked)
    assert found.user_labels.tolist() == [186, 196]
    assert found.item_labels.tolist() == [242, 302, 377]
    assert found.users.tolist() == [1, 0, 1]
    assert found.items.tolist() == [0, 1, 2]
    assert found.ratings.tolist() == [3, 4.5, 0.5]
    assert found.timestamps.tolist() == [881250949, 891717742, 878887116]


def test_files_without_times(tmp_path):
    three = written(tmp_path, table("\t", columns=(0, 1, 2)))
    assert gf.read_ratings(three).timestamps is None
    assert gf.read_ratings(written(tmp_path, table("\t")), timestamp=False).timestamps is None


def test_labels_that_are_texts(tmp_path):
    books = gf.read_ratings(written(tmp_path, QUOTED), missing=0, ids="text")
    assert books.item_labels.tolist() == ["0155061224", "034545104X"]
    assert books.user_labels.tolist() == ["276725", "276726"]
    assert (len(books), books.ratings.tolist()) == (1, [5])
    named = gf.read_ratings(written(tmp_path, "ann\t1\t3\nbob\t10\t4\n"))
    assert (named.user_labels.tolist(), named.item_labels.tolist()) == (["ann", "bob"], [1, 10])
    as_text = gf.read_ratings(written(tmp_path, "007\t1\t3\n7\t01\t4\n"), ids="text")
    assert as_text.user_labels.tolist() == ["007", "7"]
    assert as_text.item_labels.tolist() == ["01", "1"]


def test_blocks_of_an_item(tmp_path):
    for content in (NETFLIX, NETFLIX.replace("\n2:", "\n\n2: ")):
        found = gf.read_ratings(written(tmp_path, content))
        assert found.item_labels.tolist() == [1, 2]
        assert found.user_labels[found.users].tolist() == [1488844, 822109, 822109]
        assert found.item_labels[found.items].tolist() == [1, 1, 2]
        assert found.ratings.tolist() == [3, 5, 4]
        day = found.timestamps[0].astype("datetime64[s]")
        assert day == np.datetime64("2005-09-06")
    with pytest.raises(ValueError, match="user = 1 is of no use with layout 'blocks'"):
        gf.read_ratings(written(tmp_path, NETFLIX), user=1)
    two = ("1:\n8,3,2005-09-06\n", "2:\n8,4,2005-09-07\n9,1,2005-09-07\n")
    parts = [written(tmp_path, part, f"mv_{k}.txt") for k, part in enumerate(two)]
    both = gf.read_ratings(parts)
    assert both.items.tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match=r"twice, in line 2 of .*mv_0\.txt and line 2 of .*mv_0"):
        gf.read_ratings([parts[0], parts[1], parts[0]])


def test_a_table_with_a_row_a_user(tmp_path):
    jester = written(tmp_path, "2,-7.82,99,8.79\n1,99,4.08,99\n")
    found = gf.read_ratings(jester, layout="wide", missing=99, drop=[0])
    assert found.shape == (2, 3)
    assert found.item_labels[found.items].tolist() == [1, 3, 2]
    assert found.users.tolist() == [0, 0, 1]
    assert found.ratings.tolist() == [-7.82, 8.79, 4.08]
    named = written(tmp_path, "who;Alien;Brazil\nann;5;\nbob;nan;2.5\n")
    found = gf.read_ratings(named, layout="wide", user="who")
    assert found.user_labels.tolist() == ["ann", "bob"]
    assert found.item_labels.tolist() == ["Alien", "Brazil"]
    assert found.completion().target.tolist() == [[5, 0], [0, 2.5]]
    for content, word in [
        ("1,2\n3\n", "line 2 has 1 columns, but the first has 2"),
        ("1,x\n", "line 1 has rating 'x'"),
        ("a,b\n", "no ratings"),
        ("who,a,a\n1,2,3\n", "two columns 'a'"),
    ]:
        with pytest.raises(ValueError, match=word):
            asked = {"user": "who"} if "who" in content else {}
            gf.read_ratings(written(tmp_path, content), layout="wide", **asked)
    numbers = written(tmp_path, "userId,30,50\n7,4.5,\n8,,3\n")
    found = gf.read_ratings(numbers, layout="wide", user="userId")
    assert (found.user_labels.tolist(), found.item_labels.tolist()) == ([7, 8], ["30", "50"])
    with pytest.raises(ValueError, match=r"column 'userId', of users .* pass user='userId'"):
        gf.read_ratings(numbers, layout="wide")
    for first in (",30,50", "id,30,50", "0,1,2"):
        unclear = written(tmp_path, f"{first}\n0,4.5,\n1,,3\n")
        with pytest.raises(ValueError, match=r"line 1 may be a header or not.* say header=True"):
            gf.read_ratings(unclear, layout="wide", user=0)
    found = gf.read_ratings(unclear, layout="wide", header=False)
    assert found.ratings.tolist() == [0, 1, 2, 0, 4.5, 1, 3]
    again = written(tmp_path, "who,a,b\n1,2,3\n1,4,5\n")
    with pytest.raises(ValueError, match=r"line 3 has user '1' again"):
        gf.read_ratings(again, layout="wide", user="who")


def test_an_unpacked_file_and_its_packed_one(tmp_path):
    import gzip

    (tmp_path / "r.tsv.gz").write_bytes(gzip.compress(table("\t").encode()))
    assert gf.read_ratings(tmp_path / "r.tsv.gz").ratings.tolist() == [3, 4.5, 0.5]


TWICE = "1\t7\t3\n2\t7\t5\n1\t7\t4\n1\t8\t2\n"


@pytest.mark.parametrize(
    ("rule", "ratings"), [("first", [3, 5, 2]), ("last", [5, 4, 2]), ("mean", [5, 3.5, 2])]
)
def test_several_ratings_of_an_item_are_merged_by_the_rule(rule, ratings, tmp_path):
    found = gf.read_ratings(written(tmp_path, TWICE), duplicates=rule)
    assert found.ratings.tolist() == ratings
    assert len({*zip(found.users.tolist(), found.items.tolist(), strict=True)}) == 3


GOOD = "1\t1\t5\t900\n2\t3\t4\t901\n"
OFF = {
    "NaN rating": (GOOD + "1\t2\tnan\t9\n", "line 3 has rating 'nan', which is no number; write a"),
    "infinite rating": (GOOD + "1\t2\tinf\t9\n", "line 3 has rating 'inf'"),
    "overflowing rating": (GOOD + "1\t2\t1e999\t9\n", "line 3 has rating '1e999'"),
    "decimal comma": (GOOD + "1\t2\t3,5\t9\n", "line 3 has rating '3,5'.*write it with a point"),
    "digits with a mark": (GOOD + "1\t2\t1_0\t9\n", "line 3 has rating '1_0'"),
    "NaN timestamp": (GOOD + "1\t2\t3\tnan\n", "line 3 has timestamp 'nan'.* timestamp=False"),
    "no timestamp": (GOOD + "1\t2\t3\t\n", "line 3 has timestamp '', which is no number"),
    "late timestamp": (GOOD + "1\t2\t3\t1e300\n", "line 3 has timestamp '1e300'.*seconds since"),
    "a date among numbers": (GOOD + "1\t2\t3\t2005-09-06\n", "line 3 has timestamp '2005-09-06'"),
    "no such day": ("1\t2\t3\t2005-02-30\n", "line 1 has timestamp '2005-02-30', which is no date"),
    "NaN user": (GOOD + "nan\t2\t3\t9\n", "line 3 has user 'nan', which is none; write one, or"),
    "no item": (GOOD + "1\t\t3\t9\n", "line 3 has item '', which is none"),
    "overflowing user": (GOOD + "1e300\t2\t3\t9\n", "line 3 has user '1e300', which is no whole"),
    "huge item": (GOOD + "1\t9999999999999999999\t3\t9\n", "above 9223372036854775807; pass ids"),
    "minus": (GOOD + "-1\t2\t3\t9\n", "line 3 has user '-1'.* or pass ids='text'"),
    "leading zero": (GOOD + "01\t2\t3\t9\n", "line 3 has user '01', which is no whole number"),
    "half an item": (GOOD + "1\t2.5\t3\t9\n", "line 3 has item '2.5'"),
    "text": (GOOD + "\n1\tfilm\t3\t9\n", "line 4 has item 'film', which is no whole number like"),
    "a number among texts": ("a1\t1\t3\n12\t1\t3\n", "line 2 has user '12', a number, where the"),
    "few columns": (GOOD + "1\t2\t3\n", "line 3 has 3 columns, but the first has 4; write as many"),
    "many columns": (GOOD + "1\t2\t3\t9\t9\n", "line 3 has 5 columns, but the first has 4"),
    "another separator": (GOOD + "1,2,3,9\n", "line 3 has 1 columns"),
    "a header again": ("user,item,rating\n1,2,3\nuser,item,rating\n", "line 3 has user 'user'"),
    "two columns": ("1\t2\n", "line 1 has no tabs, commas, .*write user, item and rating, or name"),
    "five columns": ("1,2,3,4,5\n", "line 1 has 5 columns and no header; say where the user st"),
    "unknown names": ("a,b,c\n1,2,3\n", "no column that is surely the user: a, b, c; say"),
    "two items": ("user,item,movie,rating\n1,2,3,4\n", "several columns for the item: user, item"),
    "quotes": ('1,"2,3\n', "line 1 has quotes that do not fit"),
    "quotes and blanks": ('ann 1 3\n"ann" 2 3\n', "line 2 has quotes around what ' ' separates"),
    "quotes and colons": ('"ann"::1::3\n', "line 1 has quotes around what '::' separates; take"),
    "files put together": ("ann\t1\t3\n\ufeffann\t2\t3\n", "line 2 has a byte order mark within"),
    "blocks of more": (NETFLIX.replace("\n8", ",9\n8"), "line 2 has 4 columns, not user, rating"),
    "a header alone": ("User,Item,Rating,Timestamp\n", "has no rating below its header"),
    "nothing": ("", "line 1 is not there: the file is empty"),
    "a long line": (GOOD + "1\t" * 10_000, "line 3 has more than 10000 characters; give one rat"),
    "cut UTF-16": (GOOD.encode("utf-16")[:-1], "is no text in UTF-8"),
    "UTF-16 without a mark": (GOOD.encode("utf-16-le"), "line 1 has char.*such as 'utf-16-le'"),
    "Latin-1": (GOOD.encode() + b"1\t2\t3\t\xe9\n", "line 3 is no text in UTF-8.*'latin-1'"),
    "bytes": (b"\x00\xff\xfe" * 100, "line 1 is no text in UTF-8"),
    "blocks without an item": ("1:\n", "has no rating below its header"),
    "twice": (TWICE, r"user 1 rates item 7 twice, in line 1 and line 3; say which counts by dup"),
}  # fmt: skip


@pytest.mark.parametrize("case", OFF)
def test_a_line_that_is_off_is_named_with_the_remedy(case, tmp_path):
    text, message = OFF[case]
    with pytest.raises(ValueError, match=rf"ratings\.txt.*{message}") as raised:
        gf.read_ratings(written(tmp_path, text))
    assert "\n" not in str(raised.value)


WRONG = {
    "layout": ({"layout": "long"}, "layout must be one of 'auto', 'rows', .*'long'"),
    "separator": ({"separator": ""}, "separator must be a text .*''"),
    "role": ({"user": 1.5}, "user must be a column's name or its place .* 1.5"),
    "place": ({"user": 7}, "line 1 has 4 columns, none at user=7; count them from 0"),
    "name": ({"user": "who"}, "no column 'who', but 1, 1, 5, 900; name the user's"),
    "two roles": ({"user": 1}, "one column for two of"),
    "encoding": ({"encoding": "latin-99"}, "'latin-99'"),
    "encoding of bytes": ({"encoding": "base64"}, "'base64'"),
    "duplicates": ({"duplicates": "sum"}, "duplicates must be one of .*'sum'"),
    "missing": ({"missing": np.nan}, "missing must be a number"),
    "all missing": ({"missing": 5}, None),
    "duplicates of a wide table": (
        {"layout": "wide", "duplicates": "last"}, "duplicates = 'last' is of no use with"),
    "rating of a wide table": ({"layout": "wide", "rating": 0}, "rating = 0 is of no use with"),
    "user in blocks": ({"layout": "blocks", "user": 1}, "user = 1 is of no use with layout 'bl"),
    "drop": ({"drop": [0]}, "for layout='wide' alone"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_options_that_do_not_fit_are_refused_by_value_and_remedy(case, tmp_path):
    asked, message = WRONG[case]
    path = written(tmp_path, GOOD)
    if message is None:
        assert gf.read_ratings(path, **asked).ratings.tolist() == [4]
        return
    with pytest.raises(ValueError, match=message):
        gf.read_ratings(path, **asked)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone is not a file; pass the path of a file"):
        gf.read_ratings(tmp_path / "gone")
    with pytest.raises(ValueError, match="no path at all"):
        gf.read_ratings([])


@pytest.mark.skipif(sys.platform != "linux", reason="needs files with holes")
def test_a_line_without_end_takes_no_memory(tmp_path):
    with (tmp_path / "a.tsv").open("wb") as file:
        file.write(GOOD.encode())
        file.truncate(1 << 40)  # a file with a hole, which takes no room
    with pytest.raises(ValueError, match="line 3 has more than 10000 characters"):
        gf.read_ratings(tmp_path / "a.tsv")


def test_portions_of_a_file_join_where_they_were_cut(tmp_path, monkeypatch):
    monkeypatch.setattr("gradflow.problems._text_lines._BLOCK", 7)
    for name in ("MovieLens 100K", "UTF-16", "ends of Windows", "quotes", "blank lines"):
        test_a_file_of_any_kind_is_read(name, tmp_path)
    test_blocks_of_an_item(tmp_path)
    with pytest.raises(ValueError, match="line 5 has rating 'x'"):
        gf.read_ratings(written(tmp_path, table("\t") + "\n1\t2\tx\t3\n"))
