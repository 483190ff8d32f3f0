"""What a file of ratings may be said to be like."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gradflow._util.annotations import Checked
from gradflow._util.validate import real

ROLES = ("user", "item", "rating", "timestamp")
Layout = Literal["auto", "rows", "blocks", "wide"]
Duplicates = Literal["error", "first", "last", "mean"]


@dataclass(frozen=True, kw_only=True)
class RatingsFormat:
    """What is known of a file of ratings; the rest is read off its first lines.

    Attributes:
      user: the users' column, by name or place from 0 on. By default it is found by the usual names
        in a header (userId, customer_id, ...); without a header, columns are user, item, rating
        and, if there is a fourth, timestamp.
      item: likewise.
      rating: likewise.
      timestamp: likewise; whole numbers, or dates such as 2005-09-06. False for none.
      separator: between the columns, such as "," or "::"; " " stands for any blanks.
      header: whether the first line holds names; by default, if no field of it is a number.
      encoding: such as "latin-1"; by default that of a byte order mark, or UTF-8.
      layout: "rows", one rating a line; "blocks", as Netflix's: a line with the item and a colon,
        then lines of user, rating and perhaps date; "wide": a user in each line and an item in each
        column, as Jester's, where an empty field is a gap, a header holds the items' labels, and
        `user`, if given, is the column of the users'. By default rows, or blocks if the first line
        is one of an item. Of blocks no other columns can be said, of a wide table only the users'.
      ids: "auto": all users must be whole numbers or all other texts, and so must all items;
        "text": as they are written.
      missing: a number that stands for no rating, such as 99; it is left out.
      drop: columns of a "wide" file to leave out, by name or place.
      duplicates: what becomes of a user's several ratings of an item: "error"; or the "first" or
        the "last" in the file stays; or the last stays, with the "mean" of all.
    """

    user: Checked[str | int | None] = None
    item: Checked[str | int | None] = None
    rating: Checked[str | int | None] = None
    timestamp: Checked[str | int | Literal[False] | None] = None
    separator: Checked[str | None] = None
    header: Checked[bool | None] = None
    encoding: Checked[str | None] = None
    layout: Checked[Layout] = "auto"
    ids: Checked[Literal["auto", "text"]] = "auto"
    missing: Checked[float | None] = None
    drop: Checked[Sequence[int | str]] = ()
    duplicates: Checked[Duplicates] = "error"

    def check(self) -> None:
        """Refuse what is none of these.

        Raises:
          ValueError: if an option has a value that it cannot have.
        """
        for name, kinds in (("layout", ("auto", "rows", "blocks", "wide")),
                            ("ids", ("auto", "text")), ("header", (None, True, False)),
                            ("duplicates", ("error", "first", "last", "mean"))):  # fmt: skip
            if getattr(self, name) not in kinds:
                raise ValueError(
                    f"{name} must be one of {', '.join(map(repr, kinds))}, but it is "
                    f"{getattr(self, name)!r}."
                )
        if self.separator is not None and (
            not isinstance(self.separator, str) or self.separator in ("", "\n", "\r", '"')
        ):
            raise ValueError(
                f"separator must be a text such as ',' or '::', but it is {self.separator!r}."
            )
        for role in ROLES:
            asked = getattr(self, role)
            given = asked is None or (role == "timestamp" and asked is False)
            if not given and (isinstance(asked, bool) or not isinstance(asked, str | int)):
                raise ValueError(
                    f"{role} must be a column's name or its place from 0 on, but it is {asked!r}."
                )
        self._check_of_use()
        if self.drop and self.layout != "wide":
            raise ValueError(f"drop = {self.drop!r} is for layout='wide' alone; leave it away.")
        if self.missing is not None and not math.isfinite(real(self.missing)):
            raise ValueError(
                f"missing must be a number, such as 99, but it is {self.missing!r}; an empty field "
                "of a 'wide' file is a gap anyway."
            )

    def _check_of_use(self) -> None:
        """See that nothing is said of columns or duplicates that a layout does not have."""
        given = {role: getattr(self, role) for role in ROLES}
        said = [role for role, at in given.items() if at is not None and at is not False]
        said += ["duplicates"] if self.duplicates != "error" and self.layout == "wide" else []
        of_use = {"wide": ("user",), "blocks": ()}.get(self.layout, said)
        if useless := [name for name in said if name not in of_use]:
            raise ValueError(
                f"{useless[0]} = {getattr(self, useless[0])!r} is of no use with layout "
                f"{self.layout!r}, whose places are known; leave it away."
            )
