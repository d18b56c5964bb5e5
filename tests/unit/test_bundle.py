"""A bundle is carried as files, checked byte by byte, and scores the same wherever it is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.audit import audit
from training.bundle import BundleError, ModelBundle, _load_pyfunc
from training.data import Dataset
from training.fit import Recipe, train
from training.models import FAMILIES
from training.split import split

LISTED = [
    "background.npy", "card.json", "curve.csv", "decision.json", "evaluation.json",
    "features.json", "model.bin", "reference.json", "rows-train.npy", "rows-validation.npy",
    "sample.json", "spec.json",
]  # fmt: skip


@pytest.fixture(scope="module")
def saved(bundle: ModelBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "bundle"
    bundle.save(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy"))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_loaded_scores_decides_and_tells_the_same(
    family: str, bundles: dict[str, ModelBundle], fresh: Dataset, tmp_path: Path
) -> None:
    bundle = bundles[family]
    bundle.save(tmp_path / "new" / "folder")

    again = ModelBundle.load(tmp_path / "new" / "folder")

    probability = again.score(fresh.columns)
    np.testing.assert_array_equal(probability, bundle.score(fresh.columns))
    np.testing.assert_array_equal(again.decide(probability), probability >= again.choice.threshold)
    assert again.choice == bundle.choice
    assert again.calibration == bundle.calibration
    assert again.spec == bundle.spec
    assert again.card == bundle.card
    assert again.evaluation == bundle.evaluation
    assert again.reference == bundle.reference
    np.testing.assert_array_equal(again.background, bundle.background)
    assert again.sample == bundle.sample
    np.testing.assert_allclose(again.curve, bundle.curve, rtol=1e-12)
    for part, hashes in bundle.trained_on.items():
        np.testing.assert_array_equal(again.trained_on[part], hashes)


def test_saving_what_was_loaded_gives_the_same_files(saved: Path, tmp_path: Path) -> None:
    ModelBundle.load(saved).save(tmp_path / "again")

    for file in saved.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_mlflow_finds_the_same_model_in_the_folder(saved: Path, fresh: Dataset) -> None:
    bundle = ModelBundle.load(saved)
    rows = fresh.frame.head(500)[list(fresh.spec.inputs)]

    answer = _load_pyfunc(str(saved)).predict(rows)

    expected = bundle.score({name: values[:500] for name, values in fresh.columns.items()})
    np.testing.assert_array_equal(answer["probability"], expected)
    np.testing.assert_array_equal(answer["decision"], bundle.decide(expected))


def test_mlflow_is_told_of_a_bad_value(saved: Path, fresh: Dataset) -> None:
    rows = fresh.frame.head(5)[list(fresh.spec.inputs)].assign(localTime=99.0)

    with pytest.raises(ValueError, match="localTime should be a number from 0 to 24, is 99"):
        _load_pyfunc(str(saved)).predict(rows)


def test_the_manifest_lists_every_other_file(saved: Path) -> None:
    manifest = json.loads((saved / "manifest.json").read_text("utf-8"))

    assert sorted(manifest["files"]) == LISTED
    assert {p.name for p in saved.iterdir()} == {*LISTED, "manifest.json"}


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_a_changed_byte_is_refused_with_the_files_name(name: str, place: float, copy: Path) -> None:
    content = bytearray((copy / name).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (copy / name).write_bytes(content)

    with pytest.raises(BundleError, match=name):
        ModelBundle.load(copy)


@pytest.mark.parametrize("name", [*LISTED, "manifest.json"])
def test_a_missing_file_is_refused_with_its_name(name: str, copy: Path) -> None:
    (copy / name).unlink()

    with pytest.raises(BundleError, match=rf"{name}.* is missing"):
        ModelBundle.load(copy)


@pytest.mark.parametrize("name", ["model.pkl", "sub/model.bin"])
def test_an_extra_file_is_refused_with_its_name(name: str, copy: Path) -> None:
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(b"x")

    with pytest.raises(BundleError, match=rf"{name.split('/', maxsplit=1)[0]}: is not listed"):
        ModelBundle.load(copy)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"format": 1}', '{"format": 1, "files": ["x"]}']
)
def test_a_damaged_manifest_is_refused(content: str, copy: Path) -> None:
    (copy / "manifest.json").write_text(content, "utf-8")

    with pytest.raises(BundleError, match=r"manifest\.json"):
        ModelBundle.load(copy)


def test_another_format_is_refused_with_who_wrote_it(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
    manifest |= {"format": 9, "written_by": "fraudray 9.0"}
    (copy / "manifest.json").write_text(json.dumps(manifest), "utf-8")

    with pytest.raises(BundleError, match=r"has format 9, written by fraudray 9\.0; .* format 2"):
        ModelBundle.load(copy)


def test_a_folder_that_is_not_there_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="missing"):
        ModelBundle.load(tmp_path / "nowhere")


def test_a_bundle_is_never_written_over_anything(bundle: ModelBundle, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", "utf-8")

    with pytest.raises(BundleError, match="is not empty"):
        bundle.save(tmp_path)

    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("off", [2e-6, -0.3, float("nan")])
def test_a_sample_that_scores_otherwise_fails_the_self_test(
    off: float, bundle: ModelBundle
) -> None:
    first, *others = bundle.sample
    wrong = first | {"probability": first["probability"] + off}

    with pytest.raises(BundleError, match="self-test is off"):
        replace(bundle, sample=[wrong, *others]).self_test()


def test_a_bundle_whose_parts_do_not_belong_together_is_not_loaded(
    bundle: ModelBundle, tmp_path: Path
) -> None:
    other = replace(bundle.calibration, offset=bundle.calibration.offset + 1)
    replace(bundle, calibration=other).save(tmp_path / "bundle")

    with pytest.raises(BundleError, match="self-test"):
        ModelBundle.load(tmp_path / "bundle")


@pytest.mark.parametrize("column", ["paymentMethodAgeDays", "paymentMethod"])
def test_a_bundle_that_leaves_out_a_required_column_can_be_loaded(
    column: str, dataset: Dataset, recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    values = np.where(dataset.label == 1, None, dataset.columns[column])
    if column != "paymentMethod":
        values = values.astype(np.float64)
    # Pandas would make a column of its own texts of it, with NaN for None.
    kept = pd.Series(values, index=dataset.frame.index, dtype=values.dtype)
    leaky = replace(dataset, frame=dataset.frame.assign(**{column: kept}))
    parts = split(leaky)
    bundle = train(leaky, parts, recipe("logistic-regression"), audit(leaky, parts))
    assert bundle.card["excluded"] == [column]
    bundle.save(tmp_path / "bundle")

    again = ModelBundle.load(tmp_path / "bundle")

    np.testing.assert_array_equal(again.score(dataset.columns), bundle.score(dataset.columns))
