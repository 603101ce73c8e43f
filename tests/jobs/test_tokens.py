"""Tokens: kept as hashes, worth nothing once revoked or over; sessions come and go with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.jobs.tokens import PREFIX, SESSION_S, Caller, TokenStore
from mosaic.errors import ParameterError


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1.7e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(tmp_path: Path, clock: Clock) -> TokenStore:
    return TokenStore(tmp_path / "state" / "tokens.sqlite", clock)


def test_only_the_hash_of_a_token_is_kept(tokens: TokenStore, tmp_path: Path) -> None:
    _, token = tokens.add("vera", "user")
    session = tokens.log_in(token)
    assert session is not None
    secret = token.removeprefix(PREFIX)
    assert len(secret) >= 43
    for path in (tmp_path / "state").iterdir():
        kept = path.read_bytes()
        for text in (secret, session.secret):
            assert text.encode() not in kept, path
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_token_says_who_asks_and_in_which_role(tokens: TokenStore) -> None:
    _, vera = tokens.add("vera", "user")
    _, olga = tokens.add("olga", "operator")
    assert tokens.find(vera) == Caller("vera", "user")
    found = tokens.find(olga)
    assert found is not None
    assert found.is_operator
    for wrong in ("", vera[:-1], vera + "a", vera.upper(), "' OR 1=1 --", "\ud800", "x" * 100_000):
        assert tokens.find(wrong) is None
        assert tokens.log_in(wrong) is None


def test_a_revoked_token_is_worthless_and_so_are_its_sessions(tokens: TokenStore) -> None:
    identity, token = tokens.add("vera", "user")
    _, other = tokens.add("vera", "user")
    session = tokens.log_in(token)
    assert session is not None
    tokens.revoke(identity)
    assert tokens.find(token) is None
    assert tokens.find_session(session.secret) is None
    assert tokens.find(other) is not None
    with pytest.raises(ParameterError, match="no valid token"):
        tokens.revoke(identity)


def test_a_token_and_its_sessions_end_when_their_time_is_over(tokens: TokenStore, clock: Clock) -> None:
    _, token = tokens.add("vera", "user", lifetime_s=100.0)
    _, lasting = tokens.add("vera", "user")
    session, long_session = tokens.log_in(token), tokens.log_in(lasting)
    assert session is not None
    assert long_session is not None
    clock.now += 99.0
    assert tokens.find(token) == Caller("vera", "user")
    found = tokens.find_session(session.secret)
    assert found is not None
    assert found.csrf == session.csrf != ""
    clock.now += 2.0
    assert tokens.find(token) is None
    assert tokens.find_session(session.secret) is None
    assert tokens.find_session(long_session.secret) is not None
    clock.now += SESSION_S
    assert tokens.find_session(long_session.secret) is None


def test_logging_out_ends_one_session(tokens: TokenStore) -> None:
    _, token = tokens.add("vera", "user")
    one, two = tokens.log_in(token), tokens.log_in(token)
    assert one is not None
    assert two is not None
    tokens.log_out(one.secret)
    assert tokens.find_session(one.secret) is None
    assert tokens.find_session(two.secret) is not None


@pytest.mark.parametrize("name", ["", "Vera", "a/b", "..", ".hidden", "a..b", "x" * 33, "v\n", "ve ra"])
def test_a_user_name_that_cannot_be_a_folder_is_refused(tokens: TokenStore, name: str) -> None:
    with pytest.raises(ParameterError, match="cannot be a user name"):
        tokens.add(name, "user")
    assert tokens.all() == []


def test_an_unknown_role_is_refused(tokens: TokenStore) -> None:
    with pytest.raises(ParameterError, match="role = 'root': it must be one of user, operator"):
        tokens.add("vera", "root")  # type: ignore[arg-type]
