"""Keys let in those who hold them, follow their file, and are told nowhere."""

from __future__ import annotations

import json
import logging
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app import keys as keys_module
from serve_app.keys import Entry, Keys, KeysError
from training.errors import UsageError

DAMAGED = [
    b"", b"{", b"\xff\xfe", b"{}", b"[1]", b'[{"name": "a"}]',
    b'[{"name": "a", "role": "root", "sha256": "%s", "created": ""}]' % (b"0" * 64),
    b'[{"name": "a", "role": "caller", "sha256": "fraudray_secret", "created": ""}]',
]  # fmt: skip


LOOK = 0.05


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for changes of a file more often than once a second."""
    monkeypatch.setattr(keys_module, "LOOK_EVERY", LOOK)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keys.json"


@pytest.fixture
def keys(path: Path) -> Keys:
    return Keys(path)


def _soon(true: Callable[[], bool]) -> None:
    """A change of the file counts at the next look; a busy machine may take seconds for it."""
    give_up = time.monotonic() + 60
    while not true():
        assert time.monotonic() < give_up
        time.sleep(LOOK / 2)


def test_a_key_has_the_role_it_was_made_with_and_nothing_else_has_one(keys: Keys) -> None:
    caller, operator = keys.add("shop", "caller"), keys.add("ops", "operator")

    assert re.fullmatch(r"fraudray_[A-Za-z0-9_-]{43}", caller)
    assert (keys.role(caller), keys.role(operator)) == ("caller", "operator")
    hashes = [entry.sha256 for entry in keys.entries()]
    for other in (None, "", "shop", caller[:-1], caller + " ", caller.upper(), *hashes):
        assert keys.role(other) is None


@given(st.text(st.characters()))
def test_whatever_stands_in_a_header_is_looked_up_and_refused(given: str) -> None:
    assert Keys(Path("nowhere")).role(given) is None


def test_a_file_that_is_not_there_holds_no_keys_and_is_not_made(keys: Keys, path: Path) -> None:
    assert keys.entries() == []
    assert keys.role("fraudray_x") is None
    assert not path.parent.exists()


def test_the_file_is_its_owners_and_holds_no_secret(keys: Keys, path: Path) -> None:
    secret = keys.add("shop", "caller")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret not in path.read_text()
    assert secret not in repr(keys) + repr(keys.entries()) + str(vars(keys))
    assert [sorted(entry) for entry in json.loads(path.read_bytes())] == [
        ["created", "name", "role", "sha256"]
    ]
    assert list(path.parent.iterdir()) == [path]


def test_the_file_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FRAUDRAY_KEYS", raising=False)
    monkeypatch.setenv("FRAUDRAY_HOME", str(tmp_path))
    assert Keys().path == tmp_path / "keys.json"

    monkeypatch.setenv("FRAUDRAY_KEYS", str(tmp_path / "other.json"))
    assert Keys().path == tmp_path / "other.json"


def test_a_graph_that_runs_follows_what_others_add_and_remove(keys: Keys, path: Path) -> None:
    graph = Keys(path)
    assert graph.role("before there is a file") is None

    secret = keys.add("shop", "caller")
    _soon(lambda: graph.role(secret) == "caller")
    keys.remove("shop")
    assert keys.role(secret) is None  # at once for who removed it
    _soon(lambda: graph.role(secret) is None)


def test_where_the_file_is_taken_away_nobody_gets_in(keys: Keys, path: Path) -> None:
    secret = keys.add("shop", "caller")
    assert keys.role(secret) == "caller"

    path.unlink()

    _soon(lambda: keys.role(secret) is None)


def test_the_good_keys_outlive_a_damaged_file_which_is_told_once(
    keys: Keys, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A command that ran in this process before may have quietened Ray.
    caplog.set_level(logging.ERROR, logger="ray.serve")
    secret = keys.add("shop", "caller")
    assert keys.role(secret) == "caller"
    good = path.read_bytes()

    def told() -> list[int]:
        return [record.levelno for record in caplog.records if record.name == "ray.serve"]

    path.write_bytes(b"[{")
    _soon(lambda: keys.role(secret) == "caller" and bool(told()))
    time.sleep(2 * LOOK)  # it is looked at again and told no more
    assert keys.role(secret) == "caller"
    assert told() == [logging.ERROR]
    assert "1 keys known before it stay good" in caplog.text

    path.write_bytes(good.replace(b"caller", b"operator"))
    _soon(lambda: keys.role(secret) == "operator")


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_lets_nobody_in_and_is_not_written_over(
    content: bytes, keys: Keys, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    assert keys.role("fraudray_secret") is None
    for action in (keys.entries, lambda: keys.add("b", "caller"), lambda: keys.remove("a")):
        with pytest.raises(KeysError, match=re.escape(f"{path}: no file of keys")) as caught:
            action()
        assert "fraudray_secret" not in str(caught.value) + caplog.text
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_names_are_unique_and_roles_are_two(keys: Keys) -> None:
    keys.add("shop", "caller")

    for wrong in ("shop", "", "a b", "-x", "a\n", "é", "x" * 101):
        with pytest.raises(UsageError, match="name "):
            keys.add(wrong, "operator")
    with pytest.raises(UsageError, match="caller, operator"):
        keys.add("b", "root")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="there are shop"):
        keys.remove("Shop")
    assert [(e.name, e.role) for e in keys.entries()] == [("shop", "caller")]


def test_keys_made_by_several_at_once_are_all_kept(keys: Keys, path: Path) -> None:
    code = (
        "import sys, pathlib; from serve_app.keys import Keys\n"
        "for i in range(10): Keys(pathlib.Path(sys.argv[1])).add(f'{sys.argv[2]}-{i}', 'caller')"
    )
    makers = [subprocess.Popen([sys.executable, "-c", code, path, str(n)]) for n in range(3)]

    assert [maker.wait() for maker in makers] == [0, 0, 0]
    assert len({entry.name for entry in keys.entries()}) == 30


def test_a_path_that_leads_through_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    keys = Keys(tmp_path / "file" / "keys.json")

    assert keys.role("x") is None
    with pytest.raises(KeysError, match="cannot be read"):
        keys.entries()
    with pytest.raises(KeysError, match="cannot be written"):
        keys.add("shop", "caller")


class TestCommands:
    @pytest.fixture
    def fraudray(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> Callable[..., Any]:
        from fraudray.cli import main

        monkeypatch.delenv("FRAUDRAY_KEYS", raising=False)
        monkeypatch.setenv("FRAUDRAY_HOME", str(tmp_path))

        def run(*arguments: str) -> Any:
            with pytest.raises(SystemExit) as left:
                main(["keys", *arguments])
            return left.value.code, *capsys.readouterr()

        return run

    def test_a_key_is_made_listed_and_removed(
        self, fraudray: Callable[..., Any], tmp_path: Path
    ) -> None:
        code, secret, told = fraudray("add", "ops", "--role", "operator")
        assert code == 0
        assert Keys(tmp_path / "keys.json").role(secret.rstrip("\n")) == "operator"
        assert secret.strip() not in told
        _, caller, _ = fraudray("add", "shop")
        assert Keys(tmp_path / "keys.json").role(caller.rstrip("\n")) == "caller"

        _, listed, _ = fraudray("list", "--json")
        assert [(e["name"], e["role"]) for e in json.loads(listed)] == [
            ("ops", "operator"), ("shop", "caller"),
        ]  # fmt: skip
        assert "operator" in fraudray("list")[1]

        assert fraudray("remove", "ops")[0] == 0
        code, _, told = fraudray("remove", "ops")
        assert (code, told) == (2, "error: name 'ops': no such key; there are shop\n")

    def test_wrong_usage_is_said_in_a_line(self, fraudray: Callable[..., Any]) -> None:
        assert fraudray("add", "a b")[0] == 2
        assert fraudray("add", "a", "--role", "root")[0] == 2
        assert fraudray("add", "a")[0] == 0
        assert fraudray("add", "a")[0] == 2


def test_an_entry_says_when_it_was_made(keys: Keys) -> None:
    keys.add("shop", "caller")

    (entry,) = keys.entries()
    assert isinstance(entry, Entry)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", entry.created)
