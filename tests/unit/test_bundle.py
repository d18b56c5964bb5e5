"""A bundle is carried as files, checked byte by byte, and scores the same wherever it is loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from training.audit import audit
from training.bundle import BundleError, ModelBundle
from training.data import Dataset, check
from training.fit import Recipe, train
from training.models import FAMILIES
from training.simulate import simulate
from training.spec import DatasetSpec
from training.split import split
from training.tracking import signature

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


@pytest.fixture(scope="module")
def pyfunc(saved: Path, spec: DatasetSpec, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The bundle as MLflow keeps and loads it, signature and all."""
    folder = tmp_path_factory.mktemp("mlflow") / "model"
    mlflow.pyfunc.save_model(
        folder, loader_module="training.pyfunc", data_path=str(saved), signature=signature(spec)
    )
    return mlflow.pyfunc.load_model(str(folder))


def test_mlflow_scores_an_ordinary_frame_as_the_bundle_does(
    pyfunc: Any, saved: Path, spec: DatasetSpec
) -> None:
    frame = simulate(500, seed=77)[200:]  # whole numbers, texts and gaps as pandas has them
    bundle = ModelBundle.load(saved)

    answer = pyfunc.predict(frame)

    expected = bundle.score(check(frame, spec, source="payments").columns)
    np.testing.assert_array_equal(answer["probability"], expected)
    np.testing.assert_array_equal(answer["decision"], bundle.decide(expected))
    assert answer.index.tolist() == frame.index.tolist()
    whole = frame.assign(localTime=12, isWeekend=True)[list(spec.inputs)]
    assert len(pyfunc.predict(whole)) == 300


def test_mlflow_is_told_of_a_bad_value(pyfunc: Any) -> None:
    rows = simulate(5, seed=1).assign(localTime=99.0)

    with pytest.raises(ValueError, match="localTime should be a number from 0 to 24, is 99"):
        pyfunc.predict(rows)


def test_the_manifest_lists_every_other_file(saved: Path) -> None:
    manifest = json.loads((saved / "manifest.json").read_text("utf-8"))

    assert sorted(manifest["files"]) == LISTED
    assert {p.name for p in saved.iterdir()} == {*LISTED, "manifest.json", "manifest.sha256"}


@pytest.mark.parametrize("name", [*LISTED, "manifest.json"])
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
    _seal(copy)

    with pytest.raises(BundleError, match=r"manifest\.json"):
        ModelBundle.load(copy)


def test_another_format_is_refused_with_who_wrote_it(copy: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_text("utf-8"))
    manifest |= {"format": 9, "written_by": "fraudray 9.0"}
    (copy / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    _seal(copy)

    with pytest.raises(BundleError, match=r"has format 9, written by fraudray 9\.0; .* format 2"):
        ModelBundle.load(copy)


def _seal(folder: Path) -> None:
    """Make the hashes agree with what is there, as who tampers on purpose would."""
    manifest = folder / "manifest.json"
    try:
        content = json.loads(manifest.read_text("utf-8"))
        for name in content["files"]:
            content["files"][name] = sha256((folder / name).read_bytes()).hexdigest()
        manifest.write_text(json.dumps(content), "utf-8")
    except (OSError, ValueError, TypeError, KeyError):
        pass
    (folder / "manifest.sha256").write_text(sha256(manifest.read_bytes()).hexdigest(), "utf-8")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("background.npy", b""),
        ("card.json", b'{"family": "zzz"}'),
        ("card.json", b"[" * 100_000),
        ("decision.json", b"{}"),
        ("features.json", b'{"exclude": [], "fill": {"shoe": 1.0}, "encoders": {}}'),
        ("model.bin", b"nothing of the kind"),
        ("reference.json", b"[]"),
        ("rows-train.npy", b"\x93NUMPY"),
        ("sample.json", b"[]"),
        ("sample.json", b'[{"row": {}}]'),
        ("spec.json", b'{"name": "x"}'),
    ],
)
def test_content_that_is_not_what_it_should_be_is_refused_with_the_files_name(
    name: str, content: bytes, copy: Path
) -> None:
    (copy / name).write_bytes(content)
    _seal(copy)

    with pytest.raises(BundleError, match=name):
        ModelBundle.load(copy)


@pytest.mark.parametrize("threshold", ["NaN", '"0.5"', "-1", "Infinity", "null"])
def test_a_threshold_that_never_or_always_alerts_is_refused(threshold: str, copy: Path) -> None:
    decision = json.loads((copy / "decision.json").read_text("utf-8"))
    decision["choice"]["threshold"] = "HERE"
    text = json.dumps(decision).replace('"HERE"', threshold)
    (copy / "decision.json").write_text(text, "utf-8")
    _seal(copy)

    with pytest.raises(BundleError, match=r"decision\.json"):
        ModelBundle.load(copy)


def test_a_link_out_of_the_folder_is_refused(copy: Path, saved: Path) -> None:
    (copy / "card.json").unlink()
    (copy / "card.json").symlink_to(saved / "card.json")

    with pytest.raises(BundleError, match=r"card\.json: is no plain file"):
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
