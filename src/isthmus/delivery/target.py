"""Where a webhook may lead: to the public internet over HTTPS, so that a destination cannot be used to reach inside.

Two gates. `check_target` looks at the address when a destination is saved and before every delivery: HTTPS, no user
information, no address inside the machine or its networks. The second one is closed at the moment of connecting: a
production project's deliveries go through a transport that refuses to open a socket to an address that is not public
(`TransportSettings.public_only`), so a name that changes its mind between check and use (DNS rebinding) gets nowhere.
Redirects are not followed. A development project may deliver to this machine and private networks, over HTTP too.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from isthmus.kernel.failures import InvalidInput
from isthmus.transport.public import is_public

_URL_BYTES_MAX = 2_048
_LOCAL_NAMES = ("localhost", ".localhost", ".local", ".internal", ".home.arpa")


def check_target(url: str, *, development: bool) -> str:
    """The URL, when a webhook may lead there. Raises InvalidInput with what to change."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").lower()
        port = parts.port
    except ValueError as error:
        raise _refused(url, "It is not a URL.") from error
    if len(url.encode()) > _URL_BYTES_MAX or any(ord(letter) <= 0x20 for letter in url):
        raise _refused(url, "It is too long, or holds blanks or control characters.")
    if parts.scheme not in ("https", "http") or not host or port == 0:
        raise _refused(url, "It has to start with https:// and name a host.")
    if parts.username is not None or parts.password is not None:
        raise _refused(url, "It must not hold a user name or password; deliveries are signed instead.")
    if parts.fragment:
        raise _refused(url, "It must not hold a fragment (#).")
    if development:
        return url
    if parts.scheme != "https":
        raise _refused(url, "It has to be https, so that nobody on the way can read the records.")
    if not _outside(host):
        raise _refused(url, "It leads into this machine or its own network.")
    return url


def _outside(host: str) -> bool:
    try:
        return is_public(str(ip_address(host)))
    except ValueError:
        return not any(host == name or (name.startswith(".") and host.endswith(name)) for name in _LOCAL_NAMES)


def _refused(url: str, reason: str) -> InvalidInput:
    return InvalidInput(
        f"“{url[:200]}” cannot receive deliveries. {reason}",
        remedy="Give a public https address. Development projects may name this machine and private networks too, "
        "also over http; an administrator changes a project's kind in the console: Settings → Projects.",
        subject="url",
    )
