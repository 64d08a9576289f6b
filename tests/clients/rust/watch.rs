// Before a block in Rust.
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry::{Context, ContextGuard};

fn number(name: &str) -> u32 {
    std::env::var(name).unwrap().parse().unwrap()
}

// the orders, over some seconds
pub fn numbers() -> impl Iterator<Item = u32> {
    let first = number("FIRST");
    (first..first + number("COUNT"))
        .inspect(|_| std::thread::sleep(std::time::Duration::from_millis(3)))
}

pub fn span() -> ContextGuard {
    Context::new()
        .with_remote_span_context(SpanContext::new(
            TraceId::from_hex("5b8efff798038103d269b633813fc60c").unwrap(),
            SpanId::from_hex("eee19b7ec3c1b174").unwrap(),
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        ))
        .attach()
}
