// Behind a block in Java.
class Watch {
    // the orders, over some seconds
    static Iterable<Integer> numbers() {
        int first = Integer.parseInt(System.getenv("FIRST"));
        return () -> java.util.stream.IntStream
            .range(first, first + Integer.parseInt(System.getenv("COUNT")))
            .peek(n -> java.util.concurrent.locks.LockSupport.parkNanos(3_000_000)).iterator();
    }

    static void span() {
        io.opentelemetry.api.trace.Span.wrap(io.opentelemetry.api.trace.SpanContext.create(
            "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174",
            io.opentelemetry.api.trace.TraceFlags.getSampled(),
            io.opentelemetry.api.trace.TraceState.getDefault())).makeCurrent();
    }
}
