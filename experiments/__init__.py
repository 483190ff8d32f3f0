"""The papers' figures and tables as experiments: a package for each paper, found by itself."""
