-- For wrk: posts one body, says at the end what came of it as one JSON line.
-- Where it holds BENCH_COUNT, a number of as many digits, each request has the
-- next one.

local f = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.method = "POST"
wrk.body = f:read("*a")
f:close()
wrk.headers["Content-Type"] = os.getenv("BENCH_TYPE") or "application/json"
wrk.headers["Content-Encoding"] = os.getenv("BENCH_ENCODING")

local count = os.getenv("BENCH_COUNT")
if count then
    local first, last = wrk.body:find(count, 1, true)
    local before, after = wrk.body:sub(1, first - 1), wrk.body:sub(last + 1)
    local digits = string.format("%%0%dd", #count)
    local n = os.time() * 1000000 % 10 ^ #count
    function request()
        n = n + 1
        return wrk.format(nil, nil, nil,
                          before .. string.format(digits, n) .. after)
    end
end

function done(summary, latency, requests)
    io.write(string.format(
        "BENCH {\"requests\": %d, \"us\": %d, \"p50\": %d, \"p99\": %d, " ..
        "\"p999\": %d, \"bad\": %d, \"broken\": %d}\n",
        summary.requests, summary.duration, latency:percentile(50),
        latency:percentile(99), latency:percentile(99.9),
        summary.errors.status,
        summary.errors.connect + summary.errors.read + summary.errors.write +
        summary.errors.timeout))
end
