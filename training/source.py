"""Where a payments file lies: a path or an fsspec URL, opened for reading, with clear errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from training.errors import DataRefused, FraudrayError, UsageError

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+(://|::)", re.IGNORECASE)  # one letter is a Windows drive
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*(?:/[^/@\s]*)?@")
_QUERY = re.compile(r"\?\S*")  # a signed URL carries its key there
_PACKED = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz"}


@dataclass(frozen=True)
class Source:
    """A CSV or Parquet file.

    Attributes
    ----------
    url
        A local path, or a URL of any kind that fsspec knows. Its ending says what it is: .parquet,
        or anything else for CSV; .gz, .bz2 and .xz are unpacked.

    Examples
    --------
    >>> Source("s3://key:secret@bucket/payments.csv.gz?signature=1").name
    's3://bucket/payments.csv.gz'
    >>> Source("data/payments.csv.gz").rejected_name
    'payments.rejected.csv'
    """

    url: str

    @property
    def remote(self) -> bool:
        """Whether it is a URL."""
        return _SCHEME.match(self.url) is not None

    @property
    def name(self) -> str:
        """As it may be shown: without credentials and query."""
        return self._shown(self.url) if self.remote else self.url

    @property
    def parquet(self) -> bool:
        """Whether it is Parquet."""
        return self._path.suffix == ".parquet"

    @property
    def rejected_name(self) -> str:
        """Name of the file for the rows that break the spec."""
        stem = self._path.stem if self._path.suffix in _PACKED else self._path.name
        return f"{PurePosixPath(stem).stem}.rejected.csv"

    @property
    def _path(self) -> PurePosixPath:
        return PurePosixPath(Path(self.name).as_posix())

    def parts(self) -> list[Source]:
        """The file itself, or the Parquet files of a folder by name.

        Raises
        ------
        FraudrayError
            If it is a folder without Parquet files.
        """
        if self.remote or not Path(self.url).is_dir():
            return [self]
        files = sorted(Path(self.url).glob("*.parquet"))
        if not files:
            raise FraudrayError(f"{self.name}: is a folder; give a CSV or Parquet file")
        return [Source(str(file)) for file in files]

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open for reading bytes, unpacked; errors on the way are told in one line.

        Raises
        ------
        FraudrayError
            If it cannot be reached.
        DataRefused
            If it is empty or not what its ending says.
        """
        import fsspec

        packed = None if self.parquet else _PACKED.get(self._path.suffix)
        with self._explained():
            if self.identity()["size"] == 0:
                raise DataRefused(f"{self.name}: the file is empty")
            target = self.url if self.remote else str(Path(self.url).absolute())
            with fsspec.open(target, "rb", compression=packed) as file:
                yield cast("IO[bytes]", file)

    def identity(self) -> dict[str, Any]:
        """Size in bytes and what else changes with the content: time of change or ETag."""
        with self._explained():
            if not self.remote:
                state = Path(self.url).stat()
                return {"size": state.st_size, "stamp": state.st_mtime_ns}
            import fsspec

            system, path = fsspec.core.url_to_fs(self.url)
            about = system.info(path)
            stamp = next(
                (str(about[key]) for key in ("ETag", "etag", "mtime", "LastModified", "created")
                 if about.get(key)), "",
            )  # fmt: skip
            return {"size": about.get("size"), "stamp": stamp}

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FraudrayError:
            raise
        except FileNotFoundError:
            raise FraudrayError(f"{self.name}: no such file") from None
        except PermissionError:
            raise FraudrayError(f"{self.name}: may not be read") from None
        except ImportError as error:
            raise FraudrayError(
                f"{self.name}: needs a package that is not installed: {_line(error)}"
            ) from None
        except (EOFError, OSError, ValueError) as error:
            if self.remote and isinstance(error, ValueError) and "rotocol" in str(error):
                raise UsageError(f"{self.name}: {self._shown(_line(error))}") from None
            kind = "Parquet" if self.parquet else "CSV"
            told = self._shown(_line(error).replace(self.url, self.name))
            raise DataRefused(f"{self.name}: is not a readable {kind} file: {told}") from None
        except Exception as error:  # each kind of storage has its own
            if not self.remote:
                raise
            told = self._shown(_line(error).replace(self.url, self.name))
            raise FraudrayError(f"{self.name}: cannot be read: {told}") from None

    @staticmethod
    def _shown(text: str) -> str:
        return _QUERY.sub("", _CREDENTIALS.sub("", text))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
