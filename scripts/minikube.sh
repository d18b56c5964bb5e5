# What the other scripts of Minikube share; they read it, nobody runs it.
# shellcheck shell=bash
# Bash 3.2 has to do, the one that macOS has: no associative arrays, no mapfile.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PROFILE=fraudray # of Minikube; kubectl's context has the same name

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }

failed=""
# fail WHAT FIX: what is wrong, and what to do about it.
fail() {
  failed=yes
  printf '\nerror: %s\n  to mend it: %s\n' "$1" "$2" >&2
  exit 1
}

work=$(mktemp -d) # for what one step tells another
# leave: when a script ends; where it did not say why itself, what it called did.
leave() {
  local code=$?
  rm -rf "$work"
  if ((code)) && [[ -z $failed ]]; then
    printf '\nerror: stopped by what is told above\n  to mend it: run it again, it goes on from here\n' >&2
  fi
}
trap leave EXIT

# Never another cluster than ours, whatever context is chosen.
kubectl() { command kubectl --context "$PROFILE" "$@"; }

# need PROGRAM WHERE: it is installed.
need() { type -P "$1" >/dev/null || fail "$1 is not installed" "$2"; }

# at_least LOWEST FOUND: compares versions such as 1.9.0 and 1.10.
at_least() { [[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" == "$1" ]]; }

# kept NAMESPACE SECRET KEY: what a secret of the cluster holds.
kept() { kubectl -n "$1" get secret "$2" -o "jsonpath={.data.$3}" | base64 --decode; }
