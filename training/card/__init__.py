"""Model cards: what a model is for, how it was made and measured, and its weaknesses."""

from training.card.writing import html, markdown, pictures

__all__ = ["html", "markdown", "pictures"]
