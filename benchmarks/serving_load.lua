-- wrk's script: posts the bodies of a file in turn, and prints one line of JSON at the end.
-- Arguments: the file, the content type. The file holds "LENGTH\n" and so many bytes, repeated.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  requests = {}
  wrk.method = "POST"
  wrk.headers["Content-Type"] = args[2]
  local file = assert(io.open(args[1], "rb"))
  while true do
    local length = file:read("*n")
    if not length then break end
    file:read(1)
    requests[#requests + 1] = wrk.format(nil, nil, nil, file:read(length))
  end
  file:close()
  -- Threads begin at different payments.
  sent = math.floor(#requests * number / 7)
end

function request()
  sent = sent + 1
  return requests[sent % #requests + 1]
end

-- There is no response(): it would cost wrk a third of its speed, on cores that the server needs.
-- wrk itself counts answers above 399.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "bytes": %d, "refused": %d, "connect": %d, "read": %d, '
      .. '"write": %d, "timeout": %d, "p50": %.1f, "p95": %.1f, "p99": %.1f, "max": %.1f}\n',
    summary.requests, summary.duration, summary.bytes, e.status, e.connect, e.read, e.write,
    e.timeout, latency:percentile(50), latency:percentile(95), latency:percentile(99), latency.max))
end
