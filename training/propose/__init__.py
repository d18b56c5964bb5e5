"""Propose a spec from a file: what each column looks like, and why."""

from training.propose.proposal import Proposal, propose, spec_name, titled

__all__ = ["Proposal", "propose", "spec_name", "titled"]
