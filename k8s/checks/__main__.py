"""Checks manifests from standard input; exits with 1 if anything is wrong."""

from __future__ import annotations

import sys

import yaml

from k8s.checks import problems

try:
    found = problems([o for o in yaml.safe_load_all(sys.stdin) if o])
except yaml.YAMLError as error:
    found = [f"standard input is no YAML: {' '.join(str(error).split())}"]
sys.stdout.writelines(f"{line}\n" for line in found)
sys.exit(1 if found else 0)
