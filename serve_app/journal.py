"""What a run of batch scoring has done so far, kept beside its output until that is whole.

`.OUT.unfinished/` holds every scored piece and what the run was about: file, model, plan. A run
that was stopped, by Ctrl-C or by the loss of its machine, goes on from there. Pieces are kept in
order, so what is there is always the beginning.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from serve_app.formats import names_as_csv
from training.convert import PROBLEM
from training.errors import FraudrayError, UsageError


@dataclass(frozen=True)
class Count:
    """Rows of one or more pieces: written, set aside, decided as fraud."""

    rows: int = 0
    bad: int = 0
    alerts: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.rows + other.rows, self.bad + other.bad, self.alerts + other.alerts)


class Journal:
    """The scored pieces of one output.

    Parameters
    ----------
    out
        The file to be written.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out.with_name(f".{out.name}.unfinished")
        self.unfinished = self.folder / out.name
        self.counts: list[Count] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process off this output.

        Raises
        ------
        UsageError
            If one is at it, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            lock = (self.folder / "lock").open("w")
        except OSError as error:
            raise UsageError(f"{self.out}: cannot be written: {error.strerror or error}") from None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(f"{self.out}: is being written by another process") from None
            yield

    def begin(self, about: Mapping[str, Any], *, restart: bool) -> str:
        """Take up what an earlier run of the same kind left, else begin anew.

        Parameters
        ----------
        about
            All that the result depends on.

        Returns
        -------
        str
            Why a run that was found is not gone on with; empty if it is, or there was none.
        """
        earlier = self._about()
        now = json.loads(json.dumps(about))
        different = [key for key in now if earlier is not None and earlier.get(key) != now[key]]
        if earlier is not None and not different and not restart:
            self.counts = list(self._kept())
            return ""
        for path in self.folder.iterdir():
            if path.name != "lock":
                path.unlink()
        self._write("about.json", json.dumps(now, indent=1).encode())
        if earlier is None:
            return ""
        return "as asked" if restart else f"another {' and '.join(different)}"

    def keep(self, count: Count, content: bytes, rejected: bytes) -> None:
        """Keep the next piece; it counts once its last file is there."""
        number = len(self.counts)
        self._write(f"{number:08}.rows", content)
        self._write(f"{number:08}.rejected", rejected)
        self._write(f"{number:08}.json", json.dumps(asdict(count)).encode())
        self.counts.append(count)

    def content(self, number: int) -> Any:
        """The rows of a piece as they were kept, a buffer of bytes."""
        return pa.memory_map(str(self.folder / f"{number:08}.rows")).read_buffer()

    def rejected(self) -> Iterator[bytes]:
        """The problems of every piece that has some, as CSV without a header."""
        for number, count in enumerate(self.counts):
            if count.bad:
                yield (self.folder / f"{number:08}.rejected").read_bytes()

    def write_rejected(self, name: str) -> Path:
        """Write all problems beside the output; returns where.

        Raises
        ------
        FraudrayError
            If that cannot be done.
        """
        target = self.out.with_name(name)
        try:
            with target.open("wb") as file:
                file.write(names_as_csv(PROBLEM))
                file.writelines(self.rejected())
        except OSError as error:
            raise FraudrayError(f"{target}: cannot be written: {error.strerror}") from None
        return target

    def examples(self, limit: int) -> str:
        """The first problems, in words."""
        first = next(self.rejected(), b"").decode()
        rows = list(csv.reader(io.StringIO(first)))[:limit]
        return "; ".join(f"line {line}: {c} should be {e}, is {v!r}" for line, c, e, v in rows)

    def finish(self) -> None:
        """Put the output in its place and forget the rest."""
        self.unfinished.replace(self.out)
        self.forget()

    def forget(self) -> None:
        """Remove all that was kept."""
        shutil.rmtree(self.folder)

    def _about(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads((self.folder / "about.json").read_bytes())
        except (OSError, ValueError):
            return None
        return found

    def _kept(self) -> Iterator[Count]:
        number = 0
        while (path := self.folder / f"{number:08}.json").exists():
            yield Count(**json.loads(path.read_bytes()))
            number += 1

    def _write(self, name: str, content: bytes) -> None:
        temporary = self.folder / "writing"
        temporary.write_bytes(content)
        temporary.replace(self.folder / name)
