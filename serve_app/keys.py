"""The keys that callers and operators show, of which one file holds only hashes."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import logging
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, get_args

import pydantic
from pydantic import Field, TypeAdapter

from training.errors import FraudrayError, UsageError
from training.home import home

Role = Literal["caller", "operator"]
"""What a key allows; an operator may all that a caller may."""

PREFIX = "fraudray_"
"""How every secret begins, so that one left somewhere is found by those who look for them."""

LOOK_EVERY = 1.0
"""Seconds between two looks at whether the file has changed."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_log = logging.getLogger("ray.serve")


class KeysError(FraudrayError):
    """The file of keys cannot be read or written."""


@dataclass(frozen=True)
class Entry:
    """One key: whose it is, what it allows, the hash of its secret, when it was made (ISO 8601)."""

    name: str
    role: Role
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    created: str


_ENTRIES = TypeAdapter(list[Entry])

_State = tuple[int, int, int] | None
"""Modification time in ns, size and inode of the file; None where there is none."""


class Keys:
    """Knows which role a key has, and follows its file while it does.

    The file may be replaced while others read it: it is changed in one step, by one at a time.

    Parameters
    ----------
    path
        The file; by default `$FRAUDRAY_KEYS`, else `keys.json` in `home()`. It need not be there:
        then there are no keys.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     keys = Keys(Path(folder) / "keys.json")
    ...     secret = keys.add("shop", "caller")
    ...     keys.role(secret), keys.role("a guess")
    ('caller', None)
    """

    def __init__(self, path: Path | None = None) -> None:
        given = path or Path(os.environ.get("FRAUDRAY_KEYS") or home() / "keys.json")
        self.path = given.absolute()
        self._known: list[Entry] = []
        self._state: _State = None
        self._looked = float("-inf")
        self._complaint = ""

    def __repr__(self) -> str:
        return f"Keys({str(self.path)!r})"

    def role(self, given: str | None) -> Role | None:
        """What a key allows; None for none and for one that is not known.

        A change of the file counts within `LOOK_EVERY` seconds. While it cannot be read, the keys
        of its last good state count; where it is gone, there are none.
        """
        self._look()
        if given is None:
            return None
        found: Role | None = None
        digest = _hash(given)
        for entry in self._known:  # to the end: how long it takes must not tell which is near
            if hmac.compare_digest(entry.sha256, digest):
                found = entry.role
        return found

    def entries(self) -> list[Entry]:
        """The keys in the file as it is now, in the order they were added.

        Raises
        ------
        KeysError
            If the file cannot be read or is damaged.
        """
        return _read(self.path)

    def add(self, name: str, role: Role) -> str:
        """Make a key.

        Returns
        -------
        str
            The secret, which is kept nowhere and cannot be shown again.

        Raises
        ------
        UsageError
            If the name is taken or no name, or there is no such role.
        KeysError
            If the file cannot be read or written.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"name {name!r}: expected up to 100 letters, digits, '.', '_' and '-', "
                f"the first a letter or digit"
            )
        if role not in get_args(Role):
            raise UsageError(f"role {role!r}: expected one of {', '.join(get_args(Role))}")
        secret = PREFIX + secrets.token_urlsafe(32)
        created = datetime.now(UTC).isoformat(timespec="seconds")

        def added(entries: list[Entry]) -> list[Entry]:
            if any(entry.name == name for entry in entries):
                raise UsageError(f"name {name!r}: there is a key of that name; remove it first")
            return [*entries, Entry(name, role, _hash(secret), created)]

        self._change(added)
        return secret

    def remove(self, name: str) -> None:
        """Make a key worthless.

        Raises
        ------
        UsageError
            If there is none of that name.
        KeysError
            If the file cannot be read or written.
        """

        def removed(entries: list[Entry]) -> list[Entry]:
            left = [entry for entry in entries if entry.name != name]
            if len(left) == len(entries):
                there = ", ".join(entry.name for entry in entries) or "none"
                raise UsageError(f"name {name!r}: no such key; there are {there}")
            return left

        self._change(removed)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        try:
            state = _state(self.path)
            if state != self._state or self._complaint:
                self._known = _read(self.path)
        except KeysError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                kept = len(self._known)
                _log.error("%s; the %d keys known before it stay good", error, kept)
            return
        # Taken before the file was read: what changed in between is read at the next look.
        self._state, self._complaint = state, ""

    def _change(self, change: Callable[[list[Entry]], list[Entry]]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(self.path.parent):
                _write(self.path, change(_read(self.path)))
        except OSError as error:
            raise KeysError(f"{self.path}: cannot be written: {error.strerror}") from None
        self._looked = float("-inf")


def _hash(secret: str) -> str:
    """Hash a secret. Its 256 random bits need no slow hash; a header may hold any character."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _state(path: Path) -> _State:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeysError(f"{path}: cannot be read: {error.strerror}") from None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> list[Entry]:
    try:
        return _ENTRIES.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise KeysError(f"{path}: cannot be read: {error.strerror}") from None
    except pydantic.ValidationError as error:
        # Without what the field holds: somebody may have put a secret where its hash belongs.
        first = error.errors(include_input=False, include_url=False)[0]
        place = " ".join(map(str, first["loc"]))
        raise KeysError(f"{path}: no file of keys: {place} {first['msg']}") from None


def _write(path: Path, entries: list[Entry]) -> None:
    descriptor, unfinished = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # for us alone
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_ENTRIES.dump_json(entries, indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink()
        raise


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time change what is in `folder`, so that no key is lost."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
