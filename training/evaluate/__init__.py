"""Metrics at natural prevalence, with counts, intervals, slices, and what needs no model."""

from training.evaluate.evaluation import Evaluation, Metrics, Twins, baselines, evaluate

__all__ = ["Evaluation", "Metrics", "Twins", "baselines", "evaluate"]
