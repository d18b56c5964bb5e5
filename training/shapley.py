"""Exact Shapley values of trees, by XGBoost; a forest is turned into boosted trees for it.

References
----------
Lundberg et al., "From local explanations to global understanding with explainable AI for trees",
Nature Machine Intelligence 2, 2020: the path-dependent form.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from training.preprocess import Matrix

if TYPE_CHECKING:
    import treelite
    import xgboost


def tree_shap(booster: xgboost.Booster, matrix: Matrix) -> Matrix:
    """Exact Shapley values of trees with the covers as weights, (n, d) to (n, d + 1), base last."""
    import xgboost

    if not len(matrix):
        return np.empty((0, matrix.shape[1] + 1))
    rows = xgboost.DMatrix(matrix.astype(np.float32), nthread=1)
    values: Matrix = booster.predict(rows, pred_contribs=True)
    return values.astype(np.float64)


def as_booster(trees: treelite.Model) -> xgboost.Booster:
    """Turn a forest of two classes into boosted trees that add up to its probability of fraud."""
    import xgboost

    columns = int(trees.get_header_accessor().get_field("num_feature")[0])
    # An empty model of the XGBoost at hand, so that the frame around the trees is of its version.
    some = xgboost.DMatrix(np.zeros((2, columns)), np.array([0.0, 1.0]), nthread=1)
    empty = xgboost.train({"objective": "reg:squarederror", "base_score": 0.0}, some, 0)
    content = json.loads(bytes(empty.save_raw("json")))
    model = content["learner"]["gradient_booster"]["model"]
    model["gbtree_model_param"]["num_trees"] = str(trees.num_tree)
    model["tree_info"] = [0] * trees.num_tree
    model["iteration_indptr"] = list(range(trees.num_tree + 1))
    model["trees"] = [_boosted_tree(trees, i, columns) for i in range(trees.num_tree)]
    booster = xgboost.Booster(model_file=bytearray(json.dumps(content).encode()))
    booster.set_param({"nthread": 1})
    return booster


def _boosted_tree(trees: treelite.Model, index: int, columns: int) -> dict[str, Any]:
    field = trees.get_tree_accessor(index).get_field
    children = np.stack([field("cleft"), field("cright")], axis=1)
    # XGBoost takes the node after a left child for the right one: number them level by level.
    levels = [np.array([0])]
    while len(inner := levels[-1][children[levels[-1], 0] >= 0]):
        levels.append(children[inner].ravel())
    order = np.concatenate(levels)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    leaf = children[order, 0] < 0
    children = np.where(leaf[:, None], -1, place[children[order]])
    parents = np.full(len(order), 2**31 - 1)
    parents[children[~leaf]] = np.flatnonzero(~leaf)[:, None]
    # x <= t in float64 is, for any x of float32, the same as x < the next float32 above t.
    bound = field("threshold")[order]
    nearest = bound.astype(np.float32)
    bound = np.where(nearest > bound, nearest, np.nextafter(nearest, np.float32(np.inf)))
    last = field("leaf_vector_end")[order[leaf]].astype(np.intp) - 1  # the second class is fraud
    bound[leaf] = field("leaf_vector")[last] / trees.num_tree
    none, nothing = [0] * len(order), [0.0] * len(order)
    return {
        "id": index,
        "left_children": children[:, 0].tolist(),
        "right_children": children[:, 1].tolist(),
        "parents": parents.tolist(),
        "split_indices": np.where(leaf, 0, field("split_index")[order]).tolist(),
        "split_conditions": bound.tolist(),
        "sum_hessian": field("sum_hess")[order].tolist(),
        "default_left": none, "split_type": none, "base_weights": nothing, "loss_changes": nothing,
        "categories": [], "categories_nodes": [], "categories_segments": [], "categories_sizes": [],
        "tree_param": {
            "num_deleted": "0", "num_feature": str(columns), "num_nodes": str(len(order)),
            "size_leaf_vector": "1",
        },
    }  # fmt: skip
