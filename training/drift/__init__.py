"""Drift: how far the fields of later payments, and their scores, are from what was expected."""

from training.drift.measure import Drift, FieldDrift, ScoreDrift, measure

__all__ = ["Drift", "FieldDrift", "ScoreDrift", "measure"]
