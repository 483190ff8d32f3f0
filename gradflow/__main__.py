"""`python -m gradflow` is the command `gradflow`."""

from gradflow.cli import main

main()
