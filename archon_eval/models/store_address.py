"""Where a call store is: a file's path, or the address of a PostgreSQL server. What of an address may be seen.

>>> is_server("postgresql://ann@db.example/evals"), is_server("runs/calls.db")
(True, False)
>>> hide_password("postgresql://ann:s3cret@db.example/evals")
'postgresql://ann@db.example/evals'
"""

import os
import re
from collections.abc import Iterable
from urllib.parse import unquote

from archon_eval.errors import StoreError

STORE_VARIABLE = "ARCHON_STORE"
"""Environment variable with the address of the store used where none is given."""
SECRET_PARAMETERS = ("password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
"""Parameters of an address that hold a password, or what is as good as one."""
PASSWORD_PLACES = f"PGPASSWORD, ~/.pgpass, a service file, or the address in {STORE_VARIABLE}"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""How an address begins; one letter before the colon is a drive of Windows."""
_SERVER_SCHEMES = ("postgresql", "postgres")
_OTHER_FORM = re.compile(r"(?:^|\s)(?:host|hostaddr|port|dbname|user|password|service)\s*=")
"""libpq's other form, `host=db.example dbname=evals`: no path has two such words."""


def is_server(address: str | os.PathLike[str]) -> bool:
    """Whether a store is on a server, not in a file.

    Raises:
        StoreError: an address of a kind that no store has.
    """
    text = os.fspath(address)
    scheme = _SCHEME.match(text)
    if scheme is None:
        if len(_OTHER_FORM.findall(text)) > 1:  # which may hold a password: it is not shown
            raise StoreError("a call store on a server is named postgresql://user@host/database, not host=... user=...")
        return False
    if scheme[1].lower() not in _SERVER_SCHEMES or not text[scheme.end() :].startswith("/"):
        raise StoreError(
            f"call store {hide_password(text)!r}: an address begins with postgresql:// (or postgres://); a store in a "
            "file is given by its path"
        )
    return True


def refuse_password(address: str | os.PathLike[str]) -> None:
    """Refuse an address with a password: arguments are in process lists, and harnesses write them to their logs.

    Raises:
        StoreError: the address has one; the message has not.
    """
    text = os.fspath(address)
    if is_server(text) and _find_passwords(text):
        raise StoreError(
            f"call store {hide_password(text)!r}: an address may hold no password, because it would be in logs and "
            f"process lists (write @ in a name as %40). Passwords come from {PASSWORD_PLACES}"
        )


def refuse_passwords(words: Iterable[str]) -> None:
    """Refuse words of a command in any of which, also within an argument, is an address with a password.

    Raises:
        StoreError: there is one; the message has it not.
    """
    for word in words:
        for found in re.finditer(r"(postgres(?:ql)?://[^\s,'\"}]*)\S*", word, re.IGNORECASE):
            # a comma or a quote ends an address, or is in its password: then what follows has the @
            refuse_password(found[1] if "@" in found[1] else found[0])


def add_password(address: str | os.PathLike[str]) -> str:
    """The address to connect to: the one in the environment, with its password, where that is the same but for it."""
    text, known = os.fspath(address), os.environ.get(STORE_VARIABLE, "")
    return known if known != text and _SCHEME.match(known) and hide_password(known) == text else text


def hide_password(address: str) -> str:
    """An address without its password; a path as it is."""
    scheme = _SCHEME.match(address)
    if scheme is None:
        return address
    user, at, place = address[scheme.end() :].rpartition("@")
    head, mark, query = place.partition("?")
    kept = [part for part in query.split("&") if unquote(part.partition("=")[0]) not in SECRET_PARAMETERS]
    rest = f"{user.partition(':')[0]}{at}{head}{mark if any(kept) else ''}{'&'.join(kept)}"
    return address[: scheme.end()] + rest


def scrub(message: str, address: str) -> str:
    """A library's message without the passwords of an address, which it may quote."""
    for secret in sorted(_find_passwords(address), key=len, reverse=True):
        message = message.replace(secret, "***")
    return message.replace(address, hide_password(address))


def _find_passwords(address: str) -> set[str]:
    """The passwords of an address, as written and as meant."""
    rest = address[match.end() :] if (match := _SCHEME.match(address)) else ""
    found = {rest.rpartition("@")[0].partition(":")[2]}  # what follows an @ in a password is not seen as a host
    for part in rest.partition("?")[2].split("&"):
        name, _, value = part.partition("=")
        found |= {value} if unquote(name) in SECRET_PARAMETERS else set()
    return {text for secret in found if secret for text in (secret, unquote(secret))}
