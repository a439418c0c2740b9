"""`python samples/apps APP [OPTIONS]`: one server of the bookshop, or the caller that measures it.

Apps: productpage, details, reviews, ratings, echo (servers); call (a client that prints what it saw as JSON).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import bookinfo
import call
from server import serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="samples", description=__doc__.splitlines()[0])
    apps = parser.add_subparsers(dest="app", required=True)
    for name in bookinfo.APPS:
        app = apps.add_parser(name)
        app.add_argument("--port", type=int, default=9080)
        app.add_argument(
            "--version", default="v1", help="what the answers say of themselves, and for reviews the stars"
        )
        app.add_argument("--status", type=int, default=200, help="answer everything but /healthz with this status")
    call.add_arguments(apps.add_parser("call", description=call.__doc__))
    options = parser.parse_args()
    if options.app == "call":
        sys.exit(call.main(options))
    serve(options.port, bookinfo.APPS[options.app](options.version), status=options.status)


main()
