"""`python -m fraudray`."""

from fraudray.cli import main

main()
