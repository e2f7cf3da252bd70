"""URLs without their secrets."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from .. import errors
from .._spelling import spelled

_PORTS = {"http": 80, "https": 443}
#: Names of parameters that carry a signature or a credential, or say how long it holds.
_SIGNING = re.compile(
    r"(x-(amz|goog|oss)-.*|signature|sig|expires|key-pair-id|policy|awsaccesskeyid"
    r"|googleaccessid|s[eprtv]|sk[estv]|skoid|sktid|.*token|api_?key|auth)",
    re.IGNORECASE,
)


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what may see what was given for the URL."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(scheme, 0)


def is_web(url: str) -> bool:
    """Whether it can be asked for by HTTP at all."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.scheme in _PORTS and origin(url)[2] > 0
    except ValueError:
        return False


def clean(url: str) -> str:
    """The URL for people: without user, query and fragment, any of which may be secret."""
    try:
        parts = urlsplit(url)
    except ValueError:  # not a URL after all, so nobody knows what in it is secret
        return f"{url.partition('://')[0]}://…"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def unsigned(url: str) -> str:
    """The URL without what changes from one signature of it to the next, or is secret."""
    parts = urlsplit(url)
    query = [
        pair for pair in parse_qsl(parts.query, keep_blank_values=True)
        if not _SIGNING.fullmatch(pair[0])
    ]  # fmt: skip
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, urlencode(query), ""))


def checked(url: str) -> str:
    """A URL that can be asked for, without its fragment.

    Raises:
        UsageError: it has no host, or holds a password, which would end up in logs.
    """
    if not is_web(url) or not url.isprintable():
        raise errors.usage("the URL cannot be used", expected="https://host/path", found=url[:200])
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise errors.usage(
            f"a URL may not hold a user name or password: use {spelled('token or headers')}",
            found=clean(url),
        )
    return urlunsplit(parts._replace(fragment=""))


def beside(url: str, name: str) -> str:
    """The URL of a file in the same folder; the query stays, since it may let one in."""
    parts = urlsplit(url)
    folder = parts.path.rpartition("/")[0]
    return urlunsplit(parts._replace(path=f"{folder}/{quote(name)}"))


def checked_name(name: str) -> str:
    """A plain file name, as of a shard: it comes out of a file that may be hostile.

    Raises:
        UsageError: it is none, and might lead elsewhere.
    """
    plain = name not in ("", ".", "..") and name.isprintable()
    if not plain or any(char in name for char in "/\\:"):
        raise errors.usage("this is no file's name", expected="a plain file name", found=name[:200])
    return name
