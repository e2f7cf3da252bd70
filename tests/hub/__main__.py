"""``python -m tests.hub``: serve until interrupted, or until standard input ends."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import ExitStack, suppress

from .control import Hub


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.hub", description="A model of the Hub.")
    parser.add_argument("--folder", help="where repositories are kept; temporary unless given")
    with ExitStack() as stack:
        folder = parser.parse_args().folder or stack.enter_context(tempfile.TemporaryDirectory())
        hub = stack.enter_context(Hub(folder))
        facts = {
            "hub": hub.endpoint,
            "cdn": hub.cdn_endpoint,
            "tokens": {user.name: token for token, user in hub.store.users.items()},
        }
        print(json.dumps(facts), flush=True)
        # Whoever started it and went away leaves nothing behind.
        with suppress(KeyboardInterrupt):
            sys.stdin.read()


main()
