#!/bin/sh
# HAProxy as Ray Serve starts it (-db -f FILE ...), less what Ray's configuration leaves open: a
# statistics page without a password on every interface, metrics on every interface, and a socket
# with which every user of this machine may administer it.
#
# It also has Ray finish what a caller has hung up on, as the graph scores it with others anyway:
# two tasks fewer for every request.
#
# On a node that is being drained it closes each connection with the answer: a caller who keeps one
# open would lose the request that comes as the proxy ends.
#
# FRAUDRAY_HAPROXY           the real program
# FRAUDRAY_HAPROXY_METRICS   address at which its metrics may be read; loopback unless told otherwise
set -eu
previous='' file=''
for word in "$@"; do
  [ "$previous" = -f ] && file=$word
  previous=$word
done
closing=''
if grep -q 'This node is being drained' "$file"; then closing='option httpclose'; fi
sed -e '/^listen stats$/,$d' \
  -e "s/^frontend http_frontend$/&\\
    http-request set-header x-request-disconnect-disabled ?1\\
    $closing/" \
  -e "s/^\( *bind \):\([0-9]*\)$/\1${FRAUDRAY_HAPROXY_METRICS:-127.0.0.1}:\2/" \
  -e 's/ mode 666 level admin / mode 600 level admin /' "$file" >"$file.closed"
# Payments alone may come to every interface, where the configuration says so.
if awk '/^[a-z]/ { section = $2 } $1 == "bind" && $2 ~ /^[*]?:/ && section != "http_frontend" { open = 1 }
    END { exit !open }' "$file.closed"; then
  echo "HAProxy is not started: $file opens more than this wrapper knows to close" >&2
  exit 1
fi
mv "$file.closed" "$file"
exec "$FRAUDRAY_HAPROXY" "$@"
