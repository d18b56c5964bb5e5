#!/usr/bin/env bash
# Builds the images and has the one of Ray score payments as a pod would have it: as nobody, on a
# root that cannot be written to, without a capability.
#
#   ENGINE   docker (or podman)
#   BASE     an image to build on instead of the Dockerfile's, where no registry answers
set -euo pipefail
cd "$(dirname "$0")/.."

engine=${ENGINE:-docker}
command -v "$engine" >/dev/null || { echo "needs $engine; or set ENGINE=podman" >&2; exit 1; }
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' training/__init__.py)
make --no-print-directory images ENGINE="$engine" BASE="${BASE:-}"
"$engine" images --format '{{.Repository}}:{{.Tag}} {{.Size}}' | grep fraudray/

# shellcheck disable=SC2016  # it is the shell inside that expands this
"$engine" run --rm --read-only --cap-drop ALL --security-opt no-new-privileges --shm-size 512m \
  --tmpfs /tmp --volume /var/lib/fraudray "fraudray/ray:$version" bash -euc '
  test "$(id -u)" -ne 0
  ! touch /opt/fraudray/x 2>/dev/null
  fraudray simulate --rows 6000 --seed 1 --out /tmp/payments.csv
  fraudray train /tmp/payments.csv --model xgboost
  set -m # otherwise what runs in the background does not hear of Ctrl-C
  fraudray serve >/tmp/serve.log 2>&1 &
  serve=$!
  for _ in $(seq 120); do
    python -c "from fraudray import Client; import sys; sys.exit(not Client(\"http://127.0.0.1:8000\").ready())" 2>/dev/null && break
    kill -0 "$serve" || { cat /tmp/serve.log; exit 1; }
    sleep 1
  done
  head -n 11 /tmp/payments.csv >/tmp/ten.csv
  fraudray predict /tmp/ten.csv
  kill -INT "$serve"
  wait "$serve" || { cat /tmp/serve.log; exit 1; }'
echo "The image serves."
