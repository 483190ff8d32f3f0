"""Files of ratings that something happened to: each is read as what it says, or refused."""

import gzip
import itertools

import numpy as np
import pytest

import gradflow as gf

RNG = np.random.default_rng(0)
ROWS = [
    (int(user), int(item), float(rating), int(time))
    for user, item, rating, time in zip(
        np.repeat(RNG.choice(10**12, 6, replace=False), 5),
        np.tile(RNG.choice(10**9, 5, replace=False), 6),
        RNG.integers(1, 11, 30) / 2,
        RNG.integers(10**8, 10**9, 30),
        strict=True,
    )
]  # fmt: skip
SEPARATORS = {"u.data": "\t", "ratings.dat": "::", "ratings.csv": ",", "semicolons.csv": ";"}
HEADER = ("userId", "movieId", "rating", "timestamp")
PLACE = 17  # of the line that something happens to


def lines_of(name):
    separator = SEPARATORS[name]
    header = [separator.join(HEADER)] if name.endswith("csv") else []
    return header + [separator.join(map(str, row)) for row in ROWS]


def on_a_line(change, refused=True):
    """A mutation of one line; its row is read as before, or the file is refused by its line."""

    def mutate(lines, separator):
        fields = lines[PLACE].split(separator)
        changed = change(fields, separator)
        text = changed if isinstance(changed, str) else separator.join(changed)
        return [*lines[:PLACE], text, *lines[PLACE + 1 :]]

    return mutate, f"line {PLACE + 1} " if refused else None


def with_field(k, word):
    return on_a_line(lambda f, s: [*f[:k], word, *f[k + 1 :]])


MUTATIONS = {
    "no rating": with_field(2, ""),
    "NaN rating": with_field(2, "NaN"),
    "infinite rating": with_field(2, "-Infinity"),
    "overflowing rating": with_field(2, "1e400"),
    "hexadecimal rating": with_field(2, "0x4"),
    "rating with a mark": with_field(2, "4_0"),
    "rating in other digits": with_field(2, "٤"),
    "rating with a letter": with_field(2, "4.O"),
    "two points": with_field(2, "4.5.0"),
    "NaN user": with_field(0, "nan"),
    "no user": with_field(0, " "),
    "user of floats": with_field(0, "1.5e3"),
    "overflowing user": with_field(0, "1" * 30),
    "infinite item": with_field(1, "inf"),
    "item with a letter": with_field(1, "12l4"),
    "item with a sign": with_field(1, "-12"),
    "item with a zero": with_field(1, "007"),
    "NaN time": with_field(3, "nan"),
    "fraction of a second": with_field(3, "12.5"),
    "date among seconds": with_field(3, "2005-09-06"),
    "one field less": on_a_line(lambda f, s: f[:3]),
    "one field more": on_a_line(lambda f, s: [*f, "1"]),
    "empty field between": on_a_line(lambda f, s: [f[0], "", *f[1:]]),
    "other separator": on_a_line(lambda f, s: "/".join(f)),
    "two lines in one": on_a_line(lambda f, s: s.join(f + f)),
    "open quotes": on_a_line(lambda f, s: ['"' + f[0], *f[1:]]),
    "header again": on_a_line(lambda f, s: s.join(HEADER)),
    "no text": on_a_line(lambda f, s: s.join(f) + "\0"),
    "columns turned": on_a_line(lambda f, s: [f[0], f[1], f[3] + "s", f[2]]),
    "the first user": (lambda ls, s: [*ls[:-30], "x" + ls[-30], *ls[-29:]], "ids='text'"),
    "the same line again": (lambda ls, s: [*ls, ls[PLACE]], "twice"),
    "another opinion": (lambda ls, s: [*ls, ls[PLACE].replace(s, s, 1)[:-1] + "1"], "twice"),
    "blanks around": on_a_line(lambda f, s: s.join(f" {x} " for x in f), refused=False),
    "blank lines": (lambda ls, s: list(itertools.chain(*([x, "  "] for x in ls))), None),
    "a plus": on_a_line(lambda f, s: [f[0], f[1], "+" + f[2], f[3]], refused=False),
    "points and zeros": on_a_line(
        lambda f, s: [f[0] + ".0", f[1], f[2] + "0", f[3]], refused=False
    ),
}
WHOLE = {
    "BOM": (lambda text: b"\xef\xbb\xbf" + text.encode(), None),
    "UTF-16": (lambda text: text.encode("utf-16"), None),
    "UTF-16 without a mark": (lambda text: text.encode("utf-16-be"), "line 1"),
    "ends of Windows": (lambda text: text.replace("\n", "\r\n").encode(), None),
    "mixed ends": (
        lambda text: text.replace("\n", "\r\n", 7).replace("\n", "\r", 9).encode(),
        None,
    ),
    "a byte of Latin-1": (lambda text: text.encode()[:-2] + b"\xe9\n", f"line {len(ROWS)}"),
    "cut in a character": (lambda text: text.encode("utf-16")[:-1], "is no text"),
    "nothing": (lambda text: b"", "line 1"),
    "blanks alone": (lambda text: b"\n \n\n", "line 1"),
}


def as_said(ratings):
    rows = zip(
        ratings.user_labels[ratings.users].tolist(),
        ratings.item_labels[ratings.items].tolist(),
        ratings.ratings.tolist(),
        ratings.timestamps.tolist(),
        strict=True,
    )
    return list(rows)


def check(path, word):
    if word is None:
        assert as_said(gf.read_ratings(path)) == ROWS
        return
    with pytest.raises(ValueError) as refused:
        gf.read_ratings(path)
    assert word in str(refused.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", SEPARATORS)
def test_what_happens_to_a_line(name, tmp_path):
    for case, (mutate, word) in MUTATIONS.items():
        path = tmp_path / f"{case} {name}"
        text = "\n".join(mutate(lines_of(name), SEPARATORS[name])) + "\n"
        path.write_text(text, encoding="utf-8")
        check(path, word)


@pytest.mark.slow
@pytest.mark.parametrize("name", SEPARATORS)
def test_what_happens_to_a_file(name, tmp_path):
    for case, (change, word) in WHOLE.items():
        path = tmp_path / f"{case} {name}"
        path.write_bytes(change("\n".join(lines_of(name)) + "\n"))
        header = case == "a byte of Latin-1" and name.endswith("csv")
        check(path, f"line {len(ROWS) + 1}" if header else word)
    without = "\n".join(lines_of(name)[len(lines_of(name)) - len(ROWS) :])
    (tmp_path / "no header").write_text(without)
    check(tmp_path / "no header", None)


@pytest.mark.slow
def test_bits_that_flip_in_a_packed_file(tmp_path):
    path = tmp_path / "u.data.gz"
    packed = bytearray(gzip.compress("\n".join(lines_of("u.data")).encode(), mtime=0))
    for at in RNG.choice(np.arange(10, len(packed)), 40, replace=False).tolist():
        packed[at] ^= 4
        path.write_bytes(packed)
        check(path, "u.data.gz")
        packed[at] ^= 4
    path.write_bytes(packed[:-9])
    check(path, "damaged")
    path.write_bytes(packed)
    check(path, None)


SIGNS = list("0123456789.,;:\t| \n\r\"'+-eEnax_é\0٤\x0b\x1c\u2028")


def plainly(text, separator, header):
    """What a file says, read by Python's own words, which refuse less."""
    lines = [line for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    rows = []
    for line in [line for line in lines if line.strip()][header:]:
        user, item, rating, time = (field.strip().strip('"') for field in line.split(separator))
        whole = [int(float(x)) if "." in x else int(x) for x in (user, item, time)]
        rows.append((whole[0], whole[1], float(rating), whole[2]))
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("name", SEPARATORS)
def test_signs_that_come_go_and_change(name, tmp_path):
    whole, path, read = "\n".join(lines_of(name)) + "\n", tmp_path / name, 0
    for _ in range(500):
        at, kind = int(RNG.integers(len(whole))), int(RNG.integers(3))
        sign = "" if kind == 2 else SIGNS[RNG.integers(len(SIGNS))]
        text = whole[:at] + sign + whole[at + (kind > 0) :]
        path.write_bytes(text.encode())
        try:
            found = gf.read_ratings(path)
        except ValueError:
            continue
        if found.timestamps is None:  # the header's word for them is another one
            assert text.split("\n")[1:] == whole.split("\n")[1:]
            continue
        assert as_said(found) == plainly(text, SEPARATORS[name], name.endswith("csv"))
        read += 1
    assert 50 < read < 450
