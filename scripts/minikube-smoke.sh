#!/usr/bin/env bash
# Has the graph in Minikube score a payment, as a caller with a key would: `make minikube-smoke`.
# shellcheck source=scripts/minikube.sh
. "$(dirname "$0")/minikube.sh"

: "${TRIES:=60}" # at most, a second apart: the graph follows the registry within about a second
PAYMENT='{"accountAgeDays": 29, "numItems": 1, "localTime": 14.5, "paymentMethod": "paypal", "paymentMethodAgeDays": 28.2}'

need curl "install it by your system's packages"

# Curl reads the key from a file of its own: what stands in arguments, every user can read.
(umask 077 && printf 'header = "authorization: Bearer %s"\n' "$(kept fraudray smoke-key key)" >"$work/key")

# A way to one of the graph's pods, by a free port of this machine, which kubectl names in its first
# line; empty if there is none.
lead() {
  : >"$work/forward" # it is read before kubectl has written, perhaps before it has begun
  command kubectl --context "$PROFILE" -n fraudray port-forward service/fraudray-serve-svc :8000 >>"$work/forward" 2>&1 &
  forward=$!
  port=""
  for ((i = 0; i < 100; i++)); do
    port=$(sed -n 's/^Forwarding from 127\.0\.0\.1:\([0-9]*\) .*/\1/p' "$work/forward")
    if [[ -n $port ]] || ! kill -0 "$forward" 2>/dev/null; then return; fi
    sleep 0.2
  done
}
trap 'leave; kill "$forward" 2>/dev/null' EXIT

lead
[[ -n $port ]] ||
  fail "no way to the service fraudray-serve-svc: $(tail -n 1 "$work/forward")" \
    "kubectl --context $PROFILE -n fraudray get rayservice,pods, then make minikube-up"

for ((try = 0; try < TRIES; try++)); do
  kill -0 "$forward" 2>/dev/null || lead # it ends with its pod
  status=$(curl --silent --max-time 15 --config "$work/key" --output "$work/answer" --write-out '%{http_code}' \
    -H 'content-type: application/json' --data "$PAYMENT" "http://127.0.0.1:$port/v1/predict") || true
  if [[ $status == 200 ]]; then
    say "The graph answers: $(cat "$work/answer")"
    exit 0
  fi
  [[ $status == 401 || $status == 403 ]] && break # no wait mends that
  sleep 1
done
fail "the graph answered $status: $(cat "$work/answer" 2>/dev/null)" \
  "kubectl --context $PROFILE -n fraudray logs job/first-model; kubectl --context $PROFILE -n fraudray describe rayservice fraudray"
