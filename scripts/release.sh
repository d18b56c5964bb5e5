#!/usr/bin/env bash
# What a release is made of; .github/workflows/release.yml calls it.
#
#   scripts/release.sh check vX.Y.Z REGISTRY         tag, code and changelog agree; a registry is named
#   scripts/release.sh notes vX.Y.Z                  that version's section of CHANGELOG.md
#   scripts/release.sh manifests REGISTRY FOLDER     overlays and sweeps as a file each, with
#                                                    REGISTRY's images; those of clouds want names
#                                                    of one's own first
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "error: $1" >&2
  exit 1
}
version() { sed -n 's/^__version__ = "\(.*\)"/\1/p' training/__init__.py; }

# notes VERSION: from below its heading to the next one.
notes() {
  awk -v heading="## $1" '
    /^## / { inside = ($0 == heading || index($0, heading " ") == 1); next }
    inside' CHANGELOG.md
}

case ${1-} in
  check)
    [[ ${2-} == "v$(version)" ]] || fail "the tag is ${2-}, training/__init__.py says $(version)"
    [[ ${3-} == */* ]] || fail "the variable REGISTRY is '${3-}', expected HOST/OWNER/fraudray"
    [[ -n $(notes "${2#v}" | tr -d '[:space:]') ]] || fail "CHANGELOG.md has no section '## ${2#v}'"
    ;;
  notes) notes "${2#v}" ;;
  manifests)
    mkdir -p "$3"
    named() { sed "s#\(image: \)\(registry\.example\.com/\)\{0,1\}fraudray/#\1$1/#"; }
    for overlay in minikube production; do
      kubectl kustomize "k8s/overlays/$overlay" | named "$2" >"$3/fraudray-$(version)-$overlay.yaml"
    done
    for sweep in rayjob raycluster; do
      named "$2" <"kuberay/$sweep.yaml" >"$3/fraudray-$(version)-$sweep.yaml"
    done
    ;;
  *) fail "usage: scripts/release.sh check TAG REGISTRY | notes TAG | manifests REGISTRY FOLDER" ;;
esac
