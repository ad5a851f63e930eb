//! What is told of messages on their way.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::collections::BTreeMap;
use std::fmt;
use std::future::IntoFuture as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kombu_core::worker::{Job, Verdict, Worker};
use kombu_core::{Connection, Queue};
use kombu_transport_memory::MemoryTransport;
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// Tests take turns: a callsite remembers for all threads whether anybody wants it.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn connect() -> Connection {
    Connection::builder("memory://").transport(MemoryTransport::new()).connect().await.unwrap()
}

/// Publishes three messages and works on them: one is done, one fails, one goes back once.
async fn play(connection: &Connection) {
    let queue = Queue::new("work");
    let producer = connection.producer().await.unwrap();
    for id in 0..3 {
        let publication = producer.publish(&id).to_queue(&queue).message_id(format!("m{id}"));
        publication.correlation_id("c").await.unwrap();
    }
    producer.publish(&0).to("nowhere", "").await.unwrap_err();
    let done = Arc::new(Notify::new());
    let notify = Arc::clone(&done);
    let worker = Worker::new(connection).on(&queue, move |job: Job| {
        let notify = Arc::clone(&notify);
        async move {
            match job.decode::<u32>()? {
                1 => return Ok(Verdict::Retry("no".to_owned())),
                2 if !job.is_redelivered() => return Ok(Verdict::Requeue),
                2 => notify.notify_one(),
                _ => {}
            }
            Ok::<_, kombu_core::Error>(Verdict::Done)
        }
    });
    let over = tokio::time::timeout(Duration::from_secs(20), done.notified());
    worker.run(async { over.await.unwrap() }).await.unwrap();
}

/// A span that is over: its name and what was recorded.
type Seen = (String, BTreeMap<String, String>);

#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Seen>>>);

struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(BTreeMap::new());
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        if span.metadata().target() == "kombu" {
            let fields = span.extensions_mut().remove::<Fields>().unwrap().0;
            self.0.lock().unwrap().push((span.name().to_owned(), fields));
        }
    }
}

#[tokio::test]
async fn spans_follow_the_conventions_for_messaging() {
    let _turn = TURN.lock().await;
    let spans = Spans::default();
    let subscriber = tracing_subscriber::registry().with(spans.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let connection = connect().await;
    play(&connection).await;
    connection.close().await.unwrap();
    let seen = std::mem::take(&mut *spans.0.lock().unwrap());
    let of = |name: &str| -> Vec<_> {
        let named = seen.iter().filter(|(seen, _)| seen == name);
        named.map(|(_, fields)| fields.clone()).collect()
    };
    let published = of("publish");
    assert_eq!(published.len(), 4, "{seen:?}");
    let first = &published[0];
    for (name, value) in [
        ("otel.name", "publish work"),
        ("otel.kind", "producer"),
        ("messaging.system", "memory"),
        ("messaging.operation.type", "send"),
        ("messaging.operation.name", "publish"),
        ("messaging.destination.name", "work"),
        ("messaging.rabbitmq.destination.routing_key", "work"),
        ("messaging.message.id", "m0"),
        ("messaging.message.conversation_id", "c"),
        ("messaging.message.body.size", "1"),
    ] {
        assert_eq!(first.get(name).map(String::as_str), Some(value), "{name}: {first:?}");
    }
    assert!(!first.contains_key("error.type"));
    assert_eq!(published[3]["error.type"], "NotFound");
    assert_eq!(published[3]["otel.status_code"], "ERROR");

    let processed = of("process");
    assert_eq!(processed.len(), 4, "{seen:?}");
    assert_eq!(processed[0]["messaging.message.id"], "m0");
    assert_eq!(processed[0]["otel.kind"], "consumer");
    let failed: Vec<_> = processed.iter().filter_map(|fields| fields.get("error.type")).collect();
    assert_eq!(failed, ["retry"]);

    assert_eq!(of("receive").len(), 4);
    let mut outcomes: Vec<_> =
        of("settle").iter().map(|fields| fields["messaging.operation.name"].clone()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["ack", "ack", "reject", "requeue"]);
}

#[cfg(feature = "metrics")]
mod meters {
    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata,
        Recorder, SharedString, Unit,
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Book(Arc<Mutex<BTreeMap<String, f64>>>);

    /// One line of the book.
    struct Line(Book, String);

    impl Line {
        fn change(&self, by: f64) {
            *self.0.0.lock().unwrap().entry(self.1.clone()).or_default() += by;
        }
    }

    impl CounterFn for Line {
        fn increment(&self, value: u64) {
            self.change(f64::from(u32::try_from(value).unwrap()));
        }

        fn absolute(&self, _: u64) {}
    }

    impl GaugeFn for Line {
        fn increment(&self, value: f64) {
            self.change(value);
        }

        fn decrement(&self, value: f64) {
            self.change(-value);
        }

        fn set(&self, _: f64) {}
    }

    impl HistogramFn for Line {
        fn record(&self, value: f64) {
            assert!((0.0..20.0).contains(&value));
            self.change(1.0);
        }
    }

    impl Book {
        fn line(&self, key: &Key) -> Arc<Line> {
            let labels: Vec<_> = key.labels().map(|label| label.value().to_owned()).collect();
            Arc::new(Line(self.clone(), format!("{} {}", key.name(), labels.join(" "))))
        }
    }

    impl Recorder for Book {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.line(key))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.line(key))
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::from_arc(self.line(key))
        }
    }

    #[test]
    fn metrics_count_what_happens() {
        let _turn = TURN.blocking_lock();
        let book = Book::default();
        metrics::with_local_recorder(&book, || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let connection = connect().await;
                play(&connection).await;
                // Held, and neither settled nor dropped.
                let producer = connection.producer().await.unwrap();
                producer.publish(&5).to_queue(&Queue::new("held")).await.unwrap();
                let held = connection.get("held").await.unwrap().unwrap();
                assert!(book.0.lock().unwrap()["kombu_in_flight memory"] > 0.5);
                drop(held);
                connection.close().await.unwrap();
            });
        });
        let book = std::mem::take(&mut *book.0.lock().unwrap());
        let expected = [
            ("kombu_confirmed_total memory", 4.0),
            ("kombu_delivered_total memory held", 1.0),
            ("kombu_delivered_total memory work", 4.0),
            ("kombu_in_flight memory", 0.0),
            ("kombu_process_seconds memory work", 4.0),
            ("kombu_publish_failed_total memory", 1.0),
            ("kombu_publish_seconds memory", 4.0),
            ("kombu_published_total memory", 5.0),
            ("kombu_settled_total memory ack", 2.0),
            ("kombu_settled_total memory reject", 1.0),
            ("kombu_settled_total memory requeue", 1.0),
        ];
        assert_eq!(book, expected.map(|(name, count)| (name.to_owned(), count)).into());
    }
}

#[cfg(feature = "opentelemetry")]
mod contexts {
    use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::Instrument as _;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    use super::*;

    #[tokio::test]
    async fn the_work_on_a_message_is_a_child_of_its_publication() {
        let _turn = TURN.lock().await;
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        let subscriber = tracing_subscriber::registry().with(layer);
        let _guard = tracing::subscriber::set_default(subscriber);
        let connection = connect().await;
        let (queue, next) = (Queue::new("work"), Queue::new("next"));
        let producer = connection.producer().await.unwrap();
        let request = tracing::info_span!("request");
        let trace = request.context().span().span_context().trace_id().to_string();
        producer.publish(&1).to_queue(&queue).into_future().instrument(request).await.unwrap();

        let delivery = connection.get("work").await.unwrap().unwrap();
        let parent = delivery.headers().get("traceparent").unwrap().as_str().unwrap().to_owned();
        assert_eq!(parent.split('-').nth(1), Some(trace.as_str()), "{parent}");
        let span = delivery.span();
        let context = span.context();
        assert_eq!(context.span().span_context().trace_id().to_string(), trace);
        // What is published meanwhile belongs to the same trace, under another span.
        producer.publish(&2).to_queue(&next).into_future().instrument(span).await.unwrap();
        let onward = connection.get("next").await.unwrap().unwrap();
        let onward = onward.headers().get("traceparent").unwrap().as_str().unwrap().to_owned();
        assert_eq!(onward.split('-').nth(1), Some(trace.as_str()));
        assert_ne!(onward, parent);
        connection.close().await.unwrap();
    }

    #[tokio::test]
    async fn without_a_tracer_a_context_is_passed_on() {
        let _turn = TURN.lock().await;
        let connection = connect().await;
        let producer = connection.producer().await.unwrap();
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let queue = Queue::new("work");
        producer.publish(&1).to_queue(&queue).header("traceparent", parent).await.unwrap();
        let delivery = connection.get("work").await.unwrap().unwrap();
        assert_eq!(delivery.headers().get("traceparent").unwrap().as_str(), Some(parent));
        let plain = producer.publish(&2).to_queue(&queue);
        plain.await.unwrap();
        let plain = connection.get("work").await.unwrap().unwrap();
        assert!(!plain.headers().contains("traceparent"));
        connection.close().await.unwrap();
    }
}
