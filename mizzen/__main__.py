"""`python -m mizzen` is the command `mizzen`; what runs in every pod starts without the library of the command line."""

import sys

from mizzen.cli.raw import run_raw

run_raw(sys.argv[1:])

from mizzen.cli.main import main  # noqa: E402

main()
