"""What a fraud model is and how one is made, from a payments file to a bundle of data files.

Nothing here knows Ray or the web, and importing it does nothing.
"""

# In code, because workers of a cluster have the code and no installation.
__version__ = "0.1.0"
