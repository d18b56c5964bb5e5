#!/usr/bin/env bash
# Stops Minikube with all of fraudray in it; `make minikube-up` goes on from there: `make minikube-down`.
# With --purge the profile goes, and with it models, decisions, secrets and images.
# shellcheck source=scripts/minikube.sh
. "$(dirname "$0")/minikube.sh"

case ${1-} in
  "" | --purge) ;;
  *) fail "no option $1" "scripts/minikube-down.sh, or scripts/minikube-down.sh --purge" ;;
esac

need minikube "see https://minikube.sigs.k8s.io/docs/start"
if [[ ${1-} == --purge ]]; then
  minikube delete -p "$PROFILE"
elif minikube -p "$PROFILE" status >/dev/null 2>&1; then
  minikube stop -p "$PROFILE"
  say "Stopped; nothing is lost. 'make minikube-down PURGE=1' removes it for good."
else
  say "Minikube does not run the profile $PROFILE"
fi
