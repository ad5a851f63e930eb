//! What becomes of a message, whatever its handler does, and what a stop does. On brokers inside
//! the process; time is paused where waits matter.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kombu_core::worker::{
    ATTEMPTS_HEADER, ERROR_HEADER, EXCHANGE_HEADER, Job, Next, Verdict, Worker,
};
use kombu_core::{Connection, Delivery, Exchange, Queue, Result, RetryPolicy};
use kombu_transport_memory::MemoryTransport;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

async fn connect() -> Connection {
    Connection::builder("memory://").transport(MemoryTransport::new()).connect().await.unwrap()
}

async fn publish(connection: &Connection, queue: &Queue, bodies: impl IntoIterator<Item = u32>) {
    let producer = connection.producer().await.unwrap();
    for body in bodies {
        producer.publish(&body).to_queue(queue).await.unwrap();
    }
}

/// A worker at work, and the way to stop it.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<()>>,
}

fn start(worker: Worker) -> Running {
    let (stop, stopped) = oneshot::channel::<()>();
    Running { stop, task: tokio::spawn(worker.run(async { drop(stopped.await) })) }
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        within(self.task).await.unwrap().unwrap();
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(120), future).await.expect("it should have happened by now")
}

/// Takes the one message of a queue.
async fn only(connection: &Connection, queue: &str) -> Delivery {
    let delivery = connection.get(queue).await.unwrap().expect("a message should wait");
    assert!(connection.get(queue).await.unwrap().is_none(), "one message is enough");
    delivery
}

/// Policy of so many retries without waits.
fn at_once(retries: u32) -> RetryPolicy {
    RetryPolicy::message().interval_start(Duration::ZERO).max_retries(retries)
}

#[tokio::test(start_paused = true)]
async fn every_end_of_a_handler_has_its_outcome_and_the_others_go_on() {
    let connection = connect().await;
    let queue = Queue::new("work");
    let dead = Queue::new("dead");
    connection.declare_queue(&dead).await.unwrap();
    publish(&connection, &queue, 0..8).await;
    let (seen, mut handled) = mpsc::unbounded_channel();
    let worker = Worker::new(&connection)
        .on_value(&queue, move |id: u32| {
            let seen = seen.clone();
            async move {
                seen.send(id).unwrap();
                match id {
                    1 => return Err("refused".to_owned()),
                    2 => panic!("out of order"),
                    3 => pending().await,
                    4 => return Ok(Verdict::Reject("of no use".to_owned())),
                    5 => return Ok(Verdict::Retry("later".to_owned())),
                    _ => {}
                }
                Ok(Verdict::Done)
            }
        })
        .concurrency(2)
        .deadline(Duration::from_secs(5))
        .dead_letters(&dead);
    let running = start(worker);
    for _ in 0..8 {
        within(handled.recv()).await.unwrap();
    }
    // The last to end is the one that hangs.
    let mut reasons = BTreeMap::new();
    let mut letters = connection.consumer(&dead).start().await.unwrap();
    while reasons.len() < 5 {
        let letter = within(letters.next()).await.unwrap().unwrap();
        assert_eq!(letter.headers().get(ATTEMPTS_HEADER).unwrap().as_i64(), Some(1));
        let reason = letter.headers().get(ERROR_HEADER).unwrap().as_str().unwrap().to_owned();
        reasons.insert(letter.decode::<u32>().unwrap(), reason);
        letter.ack().await.unwrap();
    }
    let expected = [
        (1, "refused"),
        (2, "the handler panicked: out of order"),
        (3, "the handler took longer than 5s"),
        (4, "of no use"),
        (5, "later"),
    ];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(id, text)| (id, text.to_owned())).collect();
    assert_eq!(reasons, expected);
    running.stop().await;
    assert_eq!(connection.size("work").await.unwrap(), 0);
    connection.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_the_first_await_is_contained_too() {
    let connection = connect().await;
    let queue = Queue::new("work")
        .argument("x-dead-letter-exchange", "")
        .argument("x-dead-letter-routing-key", "dead");
    connection.declare_queue(&Queue::new("dead")).await.unwrap();
    publish(&connection, &queue, 0..2).await;
    let done = Arc::new(Notify::new());
    let notify = Arc::clone(&done);
    let running = start(Worker::new(&connection).on(&queue, move |job: Job| {
        assert!(job.decode::<u32>().unwrap() != 0, "nought");
        let notify = Arc::clone(&notify);
        async move { notify.notify_one() }
    }));
    within(done.notified()).await;
    running.stop().await;
    // Without a queue for dead letters it is rejected.
    assert_eq!(only(&connection, "dead").await.decode::<u32>().unwrap(), 0);
    connection.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failed_message_is_tried_again_after_growing_waits_and_then_given_up() {
    let connection = connect().await;
    let media = Exchange::topic("media");
    let queue = Queue::new("work").bind(&media, "video.*");
    connection.declare_queue(&queue).await.unwrap();
    let producer = connection.producer().await.unwrap();
    producer.publish(&7).to(&media, "video.hd").priority(3).header("trace", "abc").await.unwrap();
    let (seen, mut attempts) = mpsc::unbounded_channel();
    let worker = Worker::new(&connection)
        .on(&queue, move |job: Job| {
            let seen = seen.clone();
            async move {
                let from = format!("{} {}", job.exchange(), job.routing_key());
                seen.send((job.attempt(), Instant::now(), from)).unwrap();
                assert_eq!(job.headers().get("trace").unwrap().as_str(), Some("abc"));
                assert_eq!(job.properties().priority, 3);
                Err::<(), _>("not yet")
            }
        })
        .retry(RetryPolicy::message().jitter(0.0).max_retries(3))
        .dead_letters("dead");
    let running = start(worker);
    let mut last = None;
    for expected in 1..=4_u32 {
        let (attempt, when, from) = within(attempts.recv()).await.unwrap();
        assert_eq!((attempt, from.as_str()), (expected, "media video.hd"));
        if let Some(last) = last {
            let wait = when.duration_since(last).as_secs();
            assert_eq!(wait, 1 << (expected - 2));
        }
        last = Some(when);
    }
    let mut letters = connection.consumer("dead").start().await.unwrap();
    let letter = within(letters.next()).await.unwrap().unwrap();
    assert_eq!(letter.headers().get(ATTEMPTS_HEADER).unwrap().as_i64(), Some(4));
    assert_eq!(letter.headers().get(ERROR_HEADER).unwrap().as_str(), Some("not yet"));
    assert_eq!(letter.headers().get(EXCHANGE_HEADER).unwrap().as_str(), Some("media"));
    letter.ack().await.unwrap();
    running.stop().await;
    assert_eq!(connection.size("work").await.unwrap(), 0);
    connection.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_read_is_given_up_without_another_try() {
    let connection = connect().await;
    let queue = Queue::new("work");
    let producer = connection.producer().await.unwrap();
    producer.publish_raw("{", "application/json", "utf-8").to_queue(&queue).await.unwrap();
    producer.publish(&"text").to_queue(&queue).await.unwrap();
    producer.publish_raw("x", "application/x-other", "binary").to_queue(&queue).await.unwrap();
    let mut letters = connection.consumer("dead").start().await.unwrap();
    let running = start(
        Worker::new(&connection)
            .on_value(&queue, async |id: u32| assert_eq!(id, u32::MAX, "nothing here is a number"))
            .retry(at_once(5))
            .dead_letters("dead"),
    );
    for _ in 0..3 {
        let letter = within(letters.next()).await.unwrap().unwrap();
        assert_eq!(letter.headers().get(ATTEMPTS_HEADER).unwrap().as_i64(), Some(1));
        letter.ack().await.unwrap();
    }
    running.stop().await;
    connection.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_message_given_back_comes_again_at_once_and_counts_no_attempt() {
    let connection = connect().await;
    let queue = Queue::new("work");
    publish(&connection, &queue, 0..3).await;
    let (seen, mut handled) = mpsc::unbounded_channel();
    let calls = Arc::new(AtomicUsize::new(0));
    let running = start(Worker::new(&connection).prefetch(1).on(&queue, move |job: Job| {
        let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        seen.send((job.decode::<u32>().unwrap(), job.attempt())).unwrap();
        async move { if first { Verdict::Requeue } else { Verdict::Done } }
    }));
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(within(handled.recv()).await.unwrap());
    }
    assert_eq!(order, [(0, 1), (0, 1), (1, 1), (2, 1)]);
    running.stop().await;
    connection.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn queues_have_their_own_handlers_behind_common_layers() {
    let connection = connect().await;
    let (small, large) = (Queue::new("small"), Queue::new(""));
    let log = Arc::new(Mutex::new(Vec::new()));
    let note = |text: &'static str| {
        let log = Arc::clone(&log);
        move |job: Job, next: Next| {
            let log = Arc::clone(&log);
            async move {
                log.lock().unwrap().push(format!("{text} {}", job.decode::<u32>()?));
                if text == "inner" && job.decode::<u32>()? == 13 {
                    return Ok(Verdict::Done);
                }
                let verdict = next.run(job).await;
                log.lock().unwrap().push(format!("{text} {verdict:?}"));
                Ok::<_, kombu_core::Error>(verdict)
            }
        }
    };
    publish(&connection, &small, [1, 13]).await;
    let done = Arc::new(Notify::new());
    let (notify, entries) = (Arc::clone(&done), Arc::clone(&log));
    let running = start(
        Worker::new(&connection)
            .on(&large, async |job: Job| assert_eq!(job.queue(), "", "it is for nobody"))
            .on(&small, move |_: Job| {
                entries.lock().unwrap().push("handler".to_owned());
                let notify = Arc::clone(&notify);
                async move { notify.notify_one() }
            })
            .layer(note("outer"))
            .layer(note("inner")),
    );
    within(done.notified()).await;
    running.stop().await;
    let log = std::mem::take(&mut *log.lock().unwrap());
    assert_eq!(log[..5], ["outer 1", "inner 1", "handler", "inner Done", "outer Done"], "{log:?}");
    // What a layer does not pass on never reaches the handler.
    assert_eq!(log.iter().filter(|line| *line == "handler").count(), 1);
    connection.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn handlers_publish_with_the_workers_producer() {
    let connection = connect().await;
    let other = Connection::builder("memory://").transport(MemoryTransport::new());
    let other = other.connect().await.unwrap();
    let (work, results) = (Queue::new("work"), Queue::new("results"));
    publish(&connection, &work, [20]).await;
    let mut received = other.consumer(&results).start().await.unwrap();
    let running = start(Worker::new(&connection).producer(other.producer().await.unwrap()).on(
        &work,
        |job: Job| async move {
            let id: u32 = job.decode()?;
            job.producer().publish(&(id + 1)).to("", "results").await
        },
    ));
    let result = within(received.next()).await.unwrap().unwrap();
    assert_eq!(result.decode::<u32>().unwrap(), 21);
    result.ack().await.unwrap();
    running.stop().await;
    connection.close().await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_handlers_end_within_the_grace_and_gives_the_rest_back() {
    let connection = connect().await;
    let queue = Queue::new("work");
    publish(&connection, &queue, 0..6).await;
    let (seen, mut handled) = mpsc::unbounded_channel();
    let ended = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&ended);
    let worker = Worker::new(&connection)
        .on_value(&queue, move |id: u32| {
            let (seen, note) = (seen.clone(), Arc::clone(&note));
            async move {
                seen.send(id).unwrap();
                tokio::time::sleep(Duration::from_secs(if id == 0 { 100 } else { 5 })).await;
                note.lock().unwrap().push(id);
            }
        })
        .concurrency(2)
        .prefetch(4)
        .grace(Duration::from_secs(30));
    let running = start(worker);
    for _ in 0..2 {
        within(handled.recv()).await.unwrap();
    }
    let begun = Instant::now();
    running.stop().await;
    assert_eq!(begun.elapsed().as_secs(), 30, "it waits for the grace period and no longer");
    assert_eq!(*ended.lock().unwrap(), [1]);
    let mut left = Vec::new();
    while let Some(delivery) = connection.get("work").await.unwrap() {
        left.push((delivery.decode::<u32>().unwrap(), delivery.is_redelivered()));
        delivery.ack().await.unwrap();
    }
    left.sort_unstable();
    let ids: Vec<_> = left.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [0, 2, 3, 4, 5]);
    assert!(left[0].1, "it was begun");
    connection.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_publishes_at_once_what_waits_to_be_tried_again() {
    let connection = connect().await;
    let queue = Queue::new("work");
    publish(&connection, &queue, [5]).await;
    let failed = Arc::new(Notify::new());
    let notify = Arc::clone(&failed);
    let hour = Duration::from_secs(3600);
    let worker = Worker::new(&connection)
        .on(&queue, move |_: Job| {
            notify.notify_one();
            async { Err::<(), _>("no") }
        })
        .retry(RetryPolicy::message().interval_start(hour).interval_max(hour));
    let running = start(worker);
    within(failed.notified()).await;
    // Let the verdict be known.
    tokio::task::yield_now().await;
    let begun = Instant::now();
    running.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(60));
    let message = only(&connection, "work").await;
    assert_eq!(message.headers().get(ATTEMPTS_HEADER).unwrap().as_i64(), Some(1));
    message.ack().await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_broker_can_hold_what_is_to_be_tried_again() {
    let connection = connect().await;
    let queue = Queue::new("work");
    publish(&connection, &queue, [5]).await;
    let (seen, mut attempts) = mpsc::unbounded_channel();
    let hour = Duration::from_secs(3600);
    let worker = |seen: mpsc::UnboundedSender<_>| {
        Worker::new(&connection)
            .on(&queue, move |job: Job| {
                seen.send((job.attempt(), Instant::now())).unwrap();
                async move { if job.attempt() == 1 { Err("no") } else { Ok(()) } }
            })
            .retry_on_broker(
                RetryPolicy::message().interval_start(hour).interval_max(hour).jitter(0.0),
            )
    };
    let running = start(worker(seen.clone()));
    let (attempt, first) = within(attempts.recv()).await.unwrap();
    assert_eq!(attempt, 1);
    running.stop().await;
    assert_eq!(connection.size("work").await.unwrap(), 0);
    // Another worker gets it, an hour later.
    let running = start(worker(seen));
    let (attempt, second) = attempts.recv().await.unwrap();
    assert_eq!((attempt, second.duration_since(first).as_secs()), (2, 3600));
    running.stop().await;
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_worker_that_is_dropped_gives_everything_back() {
    let connection = connect().await;
    let queue = Queue::new("work");
    publish(&connection, &queue, 0..20).await;
    let begun = Arc::new(Notify::new());
    let notify = Arc::clone(&begun);
    let running = start(Worker::new(&connection).concurrency(3).on(&queue, move |_: Job| {
        notify.notify_one();
        pending::<()>()
    }));
    within(begun.notified()).await;
    running.task.abort();
    within(async {
        while connection.size("work").await.unwrap() < 20 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    connection.close().await.unwrap();
}

#[tokio::test]
async fn the_end_of_the_connection_is_the_end_of_the_worker() {
    let connection = connect().await;
    let running = start(Worker::new(&connection).on("work", async |_: Job| {}));
    within(async {
        while connection.size("work").await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    connection.close().await.unwrap();
    within(running.task).await.unwrap().unwrap();
    let nothing = Worker::new(&connect().await).run(pending()).await;
    assert!(nothing.unwrap_err().to_string().contains("needs a queue"));
}

/// Random numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Workers are started and stopped a thousand times while messages come: with any concurrency and
/// prefetch, with or without grace, with handlers that succeed, wait, fail, panic and hang. Every
/// message is done exactly once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_random_stops_lose_and_double_nothing() {
    const STOPS: usize = 1000;
    let connection = connect().await;
    let queue = Queue::new("work");
    connection.declare_queue(&queue).await.unwrap();
    let producer = connection.producer().await.unwrap();
    let done: Arc<Mutex<BTreeMap<u32, u32>>> = Arc::default();
    let calls = Arc::new(AtomicUsize::new(0));
    let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let mut random = Random(u64::from(seed) | 1);
    let mut published = 0;
    let worker = |random: &mut Random| {
        let (done, calls) = (Arc::clone(&done), Arc::clone(&calls));
        Worker::new(&connection)
            .on(&queue, move |job: Job| {
                let (done, calls) = (Arc::clone(&done), Arc::clone(&calls));
                async move {
                    let id: u32 = job.decode()?;
                    match calls.fetch_add(1, Ordering::Relaxed) % 16 {
                        0 => panic!("the handler of {id} panics: this is meant to be"),
                        1 => pending().await,
                        2 | 3 => return Ok(Verdict::Retry("once more".to_owned())),
                        4 => return Ok(Verdict::Requeue),
                        5..8 => tokio::task::yield_now().await,
                        _ => {}
                    }
                    *done.lock().unwrap().entry(id).or_default() += 1;
                    Ok::<_, kombu_core::Error>(Verdict::Done)
                }
            })
            .concurrency(1 + usize::try_from(random.below(8)).unwrap())
            .prefetch(u16::try_from(random.below(20)).unwrap())
            .deadline(Duration::from_millis(1))
            .retry(at_once(u32::MAX).interval_max(Duration::from_millis(random.below(3))))
            .grace(Duration::from_millis(random.below(3)))
    };
    std::panic::set_hook(Box::new(|_| {}));
    for stop in 0..STOPS {
        let running = start(worker(&mut random));
        for _ in 0..random.below(20) {
            producer.publish(&published).to("", "work").await.unwrap();
            published += 1;
        }
        for _ in 0..random.below(200) {
            tokio::task::yield_now().await;
        }
        running.stop().await;
        if stop % 100 == 0 {
            assert_all_known(&connection, &done, published).await;
        }
    }
    assert_all_known(&connection, &done, published).await;
    // Whatever is left is done by one that is not disturbed.
    let running = start(worker(&mut random));
    within(async {
        while done.lock().unwrap().len() < usize::try_from(published).unwrap() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    running.stop().await;
    assert_eq!(connection.size("work").await.unwrap(), 0);
    let done = done.lock().unwrap();
    let doubled: Vec<_> = done.iter().filter(|(_, times)| **times > 1).collect();
    assert!(doubled.is_empty(), "seed {seed}: {doubled:?}");
    assert!(published > 5000, "{published} is no load");
}

/// After a stop every message is done or waits.
async fn assert_all_known(
    connection: &Connection,
    done: &Mutex<BTreeMap<u32, u32>>,
    published: u32,
) {
    let waits = connection.size("work").await.unwrap();
    let done = done.lock().unwrap().len() as u64;
    assert_eq!(done + waits, u64::from(published), "{done} done, {waits} wait");
}
