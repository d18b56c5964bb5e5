"""Where a payments file lies: a path or an fsspec URL, opened for reading, with clear errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from training.errors import DataRefused, FraudrayError, UsageError

# One letter is a Windows drive, and a chain such as simplecache::s3://... ends in a URL.
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+(://|::.*://)", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*(?:/[^/@\s]*)?@")
_QUERY = re.compile(r"\?\S*")  # a signed URL carries its key there
_PRIVATE = re.compile(r"(^|/)[._]")
_PACKED = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz"}


@dataclass(frozen=True)
class Source:
    """A CSV or Parquet file.

    Attributes
    ----------
    url
        A local path, or a URL of any kind that fsspec knows. Its ending says what it is: .parquet,
        or anything else for CSV; .gz, .bz2 and .xz are unpacked; capitals are the same. A folder
        stands for the Parquet files in it.

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
        return self._path.suffix.lower() == ".parquet"

    @property
    def rejected_name(self) -> str:
        """Name of the file for the rows that break the spec."""
        packed = self._path.suffix.lower() in _PACKED
        stem = self._path.stem if packed else self._path.name
        return f"{PurePosixPath(stem).stem}.rejected.csv"

    @property
    def _path(self) -> PurePosixPath:
        return PurePosixPath(Path(self.name).as_posix())

    def parts(self) -> list[Source]:
        """The file itself, or the Parquet files of a folder by name.

        Names that begin with a dot or an underscore are what programs leave for themselves.

        Raises
        ------
        FraudrayError
            If it cannot be reached, or is a folder without Parquet files or with folders of them.
        """
        found = self._in_folder()
        if found is None:
            return [self]
        files = sorted(
            name for name in found
            if name.lower().endswith(".parquet") and not _PRIVATE.search(name)
        )  # fmt: skip
        if below := next((name for name in files if "/" in name), None):
            raise FraudrayError(
                f"{self.name}: has Parquet files in folders below it, such as {below}; give one "
                f"folder at a time, or one file"
            )
        if not files:
            raise FraudrayError(f"{self.name}: is a folder; give a CSV or Parquet file")
        return [self._child(name) for name in files]

    def _in_folder(self) -> list[str] | None:
        """Every file below a folder by its path from there; None for a file."""
        with self._explained():
            if not self.remote:
                folder = Path(self.url)
                if not folder.is_dir():
                    return None
                return [f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()]
            import fsspec

            system, path = fsspec.core.url_to_fs(self.url)
            if system.info(path)["type"] != "directory":
                return None
            return [file[len(path.rstrip("/")) :].lstrip("/") for file in system.find(path)]

    def _child(self, name: str) -> Source:
        if not self.remote:
            return Source(str(Path(self.url) / name))
        links = self.url.split("::")  # of a chain the first URL says what is meant
        at = next(i for i, link in enumerate(links) if "://" in link)
        links[at] = f"{links[at].rstrip('/')}/{name}"
        return Source("::".join(links))

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

        packed = None if self.parquet else _PACKED.get(self._path.suffix.lower())
        with self._explained():
            if self.identity()["size"] == 0:
                raise DataRefused(f"{self.name}: the file is empty")
            if self.remote:
                opened = fsspec.open(self.url, "rb", compression=packed)
            else:  # a path is no URL, whatever is in it
                local = fsspec.filesystem("file")
                opened = local.open(str(Path(self.url).absolute()), "rb", compression=packed)
            with opened as file:
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
