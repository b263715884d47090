-- POSTs a body of the size that follows the URL, and ends with the result as one line of JSON. No `request` function:
-- wrk then sends the same bytes again without asking Lua.
function init(args)
  wrk.method = "POST"
  wrk.body = string.rep("x", tonumber(args[1] or "100"))
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, "errors": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
