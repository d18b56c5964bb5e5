"""The sweep's report: a page, pictures and a table of what was tried and how it measured."""

from tuning.report.board import leaderboard
from tuning.report.facts import SweepFacts
from tuning.report.writing import html, parameter_shares, pictures

__all__ = ["SweepFacts", "html", "leaderboard", "parameter_shares", "pictures"]
