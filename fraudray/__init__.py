"""The command line of fraudray."""
