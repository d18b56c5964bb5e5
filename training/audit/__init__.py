"""What is suspicious about a file, before anything is trained on it."""

from training.audit.findings import Finding
from training.audit.report import Audit, audit, audit_html

__all__ = ["Audit", "Finding", "audit", "audit_html"]
