"""`python -m mizzen` is the command `mizzen`."""

from mizzen.cli.main import main

main()
