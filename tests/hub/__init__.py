"""A small model of the Hugging Face Hub on the loopback, for tests.

This is *not* the Hub. It answers the requests that the Hub's clients make, so that the
real clients can be tested where the real Hub cannot be reached. It has two origins, like
the Hub: the hub proper, and a store of large files ("cdn") with signed URLs that expire.

Known from traces of the real clients, and from public material about the Hub: the
endpoints, the fields of requests and answers that clients read, the redirects of large
(302) and small (307) files, the names of error codes, and the headers that the hub
exposes to pages of other origins.

Assumed, since nobody could look:

- what the cdn answers to browsers beyond ``Access-Control-Allow-Origin: *``: that it
  refuses preflights, which headers it exposes (see ``Switches.expose_content_range``),
  that its errors carry CORS headers too, and that its ETag is the file's SHA-256;
- how the hub answers preflights;
- the rule for which files are kept as LFS (a pattern, more than 10 MiB, or a NUL byte in
  the sample), and that the catalogue of a gated repository is public while its files are
  not;
- the exact wording of messages, the order in which checks are made, the size of pages;
- that a request for several ranges is answered with the whole file, as S3 does.

Not there: Xet (clients are told to use LFS), pull requests, discussions, Spaces at work,
search, rate limits, quotas, git itself.

As a command, ``python -m tests.hub [--folder DIR]`` prints one JSON object with the two
origins and the tokens, and serves until it is interrupted or its input ends. In Python::

    with Hub(folder) as hub:
        HfApi(endpoint=hub.endpoint, token=hub.token).create_repo("tester/model")

Tests steer it over HTTP under ``/__test__/`` of the hub's origin (see ``control.py``), or
through the attributes of ``Hub``.
"""

from __future__ import annotations

from .control import Hub
from .faults import Fault, Switches
from .store import User

__all__ = ["Fault", "Hub", "Switches", "User"]
