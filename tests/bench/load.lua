-- For wrk: posts one body, says at the end what came of it as one JSON line.

local f = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.method = "POST"
wrk.body = f:read("*a")
f:close()
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Content-Encoding"] = os.getenv("BENCH_ENCODING")

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
