"""Who may use the service: tokens, kept as hashes only, and sessions of browsers.

A token is 256 random bits, so that a plain SHA-256 of it cannot be guessed back; no password is ever
kept. Does not cover what a role may do (`cluster.jobs.service`).
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cluster.jobs.model import is_owner
from mosaic.errors import ParameterError

Role = Literal["user", "operator"]
ROLES: Final[tuple[Role, ...]] = ("user", "operator")
PREFIX: Final = "mosaic_"
SESSION_S: Final = 12 * 3600.0
"""How long a browser stays logged in."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS tokens (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, role TEXT NOT NULL, hash TEXT NOT NULL UNIQUE,
  created_s REAL NOT NULL, expires_s REAL, revoked_s REAL
);
CREATE TABLE IF NOT EXISTS sessions (
  hash TEXT PRIMARY KEY, token TEXT NOT NULL REFERENCES tokens(id), csrf TEXT NOT NULL,
  expires_s REAL NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    owner: str
    role: Role
    csrf: str = ""
    """What a browser must repeat in a header when it changes something; empty: asked with a token."""

    @property
    def is_operator(self) -> bool:
        """Whether jobs of others may be seen and changed."""
        return self.role == "operator"


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is kept of a token."""

    id: str
    owner: str
    role: Role
    created_s: float
    expires_s: float | None
    revoked_s: float | None


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that logged in."""

    secret: str
    """Value of the cookie."""
    csrf: str
    """What requests that change something repeat in a header."""


class TokenStore:
    """Tokens and sessions in a file that only its owner can read; usable from several processes at a time.

    Parameters
    ----------
    path : Path
        SQLite file.
    clock : callable, optional
        Seconds since 1970.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with closing(self._open()) as database, database:
            database.executescript(_SCHEMA)

    def add(self, owner: str, role: Role, lifetime_s: float | None = None) -> tuple[str, str]:
        """Make a token.

        Returns
        -------
        tuple of str
            Its identity, and the token itself, which is never shown again.

        Raises
        ------
        ParameterError
            When the name cannot be that of a user, or the role is unknown.
        """
        if not is_owner(owner):
            raise ParameterError(
                f"{owner!r} cannot be a user name: up to 32 lower-case letters, digits, '.', '_', '-'"
            )
        if role not in ROLES:
            raise ParameterError(f"role = {role!r}: it must be one of {', '.join(ROLES)}")
        token = PREFIX + secrets.token_urlsafe(32)
        identity = secrets.token_hex(4)
        now = self._clock()
        expires = None if lifetime_s is None else now + lifetime_s
        with closing(self._open()) as database, database:
            database.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (identity, owner, role, _digest(token), now, expires),
            )
        return identity, token

    def all(self) -> list[TokenRecord]:
        """What is kept of all tokens, oldest first; not the tokens."""
        query = "SELECT id, owner, role, created_s, expires_s, revoked_s FROM tokens ORDER BY created_s, id"
        with closing(self._open()) as database:
            return [TokenRecord(*row) for row in database.execute(query)]

    def revoke(self, identity: str) -> None:
        """Make a token, and the sessions that came from it, worthless.

        Raises
        ------
        ParameterError
            When there is none of this identity.
        """
        with closing(self._open()) as database, database:
            changed = database.execute(
                "UPDATE tokens SET revoked_s = ? WHERE id = ? AND revoked_s IS NULL",
                (self._clock(), identity),
            )
            if changed.rowcount == 0:
                raise ParameterError(f"no valid token {identity!r}; see 'mosaic token list'")
            database.execute("DELETE FROM sessions WHERE token = ?", (identity,))

    def find(self, token: str) -> Caller | None:
        """Who holds a token; None when it is not valid."""
        row = self._valid_token(token)
        return None if row is None else Caller(row[1], row[2])

    def log_in(self, token: str) -> Session | None:
        """Begin a session; None when the token is not valid."""
        row = self._valid_token(token)
        if row is None:
            return None
        session = Session(secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        now = self._clock()
        with closing(self._open()) as database, database:
            database.execute("DELETE FROM sessions WHERE expires_s < ?", (now,))
            database.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?)",
                (_digest(session.secret), row[0], session.csrf, now + SESSION_S),
            )
        return session

    def find_session(self, secret: str) -> Caller | None:
        """Who logged in with this cookie; None when the session or its token is over."""
        query = (
            "SELECT t.owner, t.role, s.csrf FROM sessions s JOIN tokens t ON t.id = s.token WHERE s.hash = ? "
            "AND s.expires_s > ? AND t.revoked_s IS NULL AND (t.expires_s IS NULL OR t.expires_s > ?)"
        )
        now = self._clock()
        with closing(self._open()) as database:
            row = database.execute(query, (_digest(secret), now, now)).fetchone()
        return None if row is None else Caller(*row)

    def log_out(self, secret: str) -> None:
        """End a session."""
        with closing(self._open()) as database, database:
            database.execute("DELETE FROM sessions WHERE hash = ?", (_digest(secret),))

    def _valid_token(self, token: str) -> tuple[str, str, Role] | None:
        query = (
            "SELECT id, owner, role FROM tokens WHERE hash = ? AND revoked_s IS NULL "
            "AND (expires_s IS NULL OR expires_s > ?)"
        )
        with closing(self._open()) as database:
            row: tuple[str, str, Role] | None = database.execute(
                query, (_digest(token), self._clock())
            ).fetchone()
            return row

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=10.0)
        database.execute("PRAGMA foreign_keys = ON")
        return database


def _digest(secret: str) -> str:
    """Hash under which a secret is looked up."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
