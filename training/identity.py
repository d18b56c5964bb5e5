"""Which rows are the same payment: hashes of what is in a row, the same on every machine."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.data import Columns, Dataset
from training.spec import DatasetSpec

_SALT = b"fraudray rows 1"

Hashes = NDArray[np.uint64]


def row_hashes(columns: Columns) -> Hashes:
    """One 64-bit hash per row of what is in it, the same on every machine.

    Parameters
    ----------
    columns
        Input columns of shape (n,). Their order does not matter, and a missing value counts like
        an absent column.
    """
    total = np.zeros(len(next(iter(columns.values()))), np.uint64)
    for name, values in columns.items():
        key = _digest(name.encode())
        if values.dtype == object:
            codes, distinct = pd.factorize(values)
            known = np.array([_digest(str(v).encode()) for v in distinct], np.uint64)
            hashed = known[codes] if len(known) else np.zeros(len(values), np.uint64)
            missing = codes < 0
        else:
            numbers = values.astype(np.float64) + 0.0  # -0.0 and 0.0 are one value
            hashed, missing = numbers.view(np.uint64), np.isnan(numbers)
        total += np.where(missing, np.uint64(0), mix(hashed ^ key))
    return mix(total)


def row_identities(dataset: Dataset, spec: DatasetSpec | None = None) -> Hashes:
    """Hashes that are equal for what is most likely the same payment: for twins.

    They cover the columns that the spec requires, so that files with and without the optional ones
    can be compared, and a column that is left out of a model does not keep twins apart. A spec that
    requires fewer than half of its inputs says too little by them, so there all inputs are covered.
    It is a matter of the spec alone: hashes of two files must be of the same columns. Numbers count
    as 32-bit floats: copies of a file differ in the digits they keep.

    Parameters
    ----------
    spec
        The one to hash under, default the dataset's own: hashes that a model carries were made
        under the spec of its time.
    """
    inputs = (spec or dataset.spec).inputs
    names = [name for name, column in inputs.items() if column.required]
    names = names if 2 * len(names) >= len(inputs) else list(inputs)
    with np.errstate(over="ignore"):
        return row_hashes(
            {
                name: values if values.dtype == object else values.astype(np.float32)
                for name, values in dataset.columns.items()
                if name in names
            }
        )


def fingerprint(dataset: Dataset) -> str:
    """Sixteen hex digits that change when any row's inputs or label change, not with row order."""
    hashes = mix(row_hashes(dataset.columns) + dataset.label.astype(np.uint64))
    return blake2b(np.sort(hashes).tobytes(), digest_size=8).hexdigest()


def mix(x: Hashes) -> Hashes:
    """Spread 64 bits evenly (the finaliser of SplitMix64, public domain, Vigna 2015)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def unit(hashes: Hashes) -> NDArray[np.float64]:
    """Hashes as numbers in [0, 1)."""
    return (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _digest(text: bytes) -> np.uint64:
    digest = blake2b(text, digest_size=8, key=_SALT).digest()
    return np.uint64(int.from_bytes(digest, "little"))
