"""The papers' claims and how each is checked: a package for each paper, found by itself."""
