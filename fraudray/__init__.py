"""fraudray: fraud detection for payments, end to end on Ray.

This package ties the others together: the command line and the demo.
"""
