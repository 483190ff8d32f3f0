"""How long a large file of ratings takes to read, and how much memory.

Ids are drawn from 10^12, so that whatever is sized by the largest of them does not fit anywhere.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

import gradflow as gf


def write(path: Path, ratings: int, labels: int) -> None:
    """A file of so many ratings, by and of so many users and items, each entry at most once."""
    random = np.random.default_rng(0)
    users, items = (random.choice(10**12, labels, replace=False) for _ in range(2))
    entries = random.choice(labels * labels, ratings, replace=False)
    stars = random.integers(1, 11, ratings) / 2
    times = random.integers(10**9, 2 * 10**9, ratings)
    with path.open("w") as file:
        file.write("userId,movieId,rating,timestamp\n")
        for entry, star, when in zip(entries.tolist(), stars.tolist(), times.tolist(), strict=True):
            user, item = divmod(entry, labels)
            file.write(f"{users[user]},{items[item]},{star},{when}\n")


def main() -> None:
    """Write the file in a process of its own, so that its memory does not count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratings", type=int, default=10**6)
    parser.add_argument("--labels", type=int, default=10**5)
    parser.add_argument("--file", type=Path, help="read this one instead")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.write:
        write(asked.write, asked.ratings, asked.labels)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = asked.file
        if path is None:
            path = Path(folder) / "ratings.csv"
            _in_another_process("--write", str(path), "--ratings", str(asked.ratings),
                                "--labels", str(asked.labels))  # fmt: skip
        gf.read_ratings  # noqa: B018  (what importing takes is not reading)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        ratings = gf.read_ratings(path)
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{ratings!r}: {seconds:.1f} s, peak memory {peak / 1024:.0f} MB, "
          f"of which {before / 1024:.0f} MB before")  # fmt: skip


def _in_another_process(*words: str) -> None:
    import subprocess
    import sys

    subprocess.run([sys.executable, "-m", "benchmarks.ratings_file", *words], check=True)


if __name__ == "__main__":
    main()
