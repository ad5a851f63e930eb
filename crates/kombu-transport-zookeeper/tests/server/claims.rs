//! Messages that are held: by whom, for how long, and where they go.

use kombu_conformance::kit::process::{Process, Work};
use kombu_conformance::kit::{Outcome, Result, count, fill, kill_consumers, next, numbers, say};
use kombu_conformance::own_cases;
use kombu_core::{ErrorKind, Queue};
use tokio::time::{Duration, Instant, timeout};

use crate::ground::{builder, connect, queue, url};
use crate::here;

own_cases! {
    beside a_killed_consumers_messages_come_back_in_order [];
    beside a_stopped_consumer_is_given_up_and_goes_on_later [];
    beside a_live_consumers_messages_stay_with_it [];
    beside two_live_consumers_never_get_the_same_message [];
    beside kills_at_random_moments_lose_nothing [];
    beside an_idle_consumer_is_woken [];
    beside one_consumer_gets_messages_in_order [];
    alone a_long_queue_is_consumed_in_order [];
    beside the_largest_message_arrives_and_a_larger_one_is_refused [];
}

/// The URL for a consumer of its own process, which is given up soon.
fn process_url() -> String {
    url(here::IMPATIENT)
}

/// The next numbers, all of them marked as redelivered.
async fn again(queue: &Queue, count: u64) -> Result<Vec<u64>> {
    let connection = connect().await?;
    let mut consumer = connection.consumer(queue).start().await?;
    let mut came = Vec::new();
    for _ in 0..count {
        let delivery = next(&mut consumer).await?;
        assert!(delivery.is_redelivered());
        came.push(delivery.decode::<u64>()?);
        delivery.ack_confirmed().await?;
    }
    consumer.close().await?;
    connection.close().await?;
    Ok(came)
}

async fn a_killed_consumers_messages_come_back_in_order() -> Outcome {
    let connection = connect().await?;
    let queue = queue("killed");
    fill(&connection, &queue, 0..100).await?;
    let hold = Work::Hold { prefetch: 100 };
    let mut doomed = Process::start(&process_url(), queue.name(), hold)?;
    doomed.has_said(100).await?;
    let killed = Instant::now();
    doomed.kill().await?;
    assert_eq!(again(&queue, 100).await?, (0..100).collect::<Vec<_>>());
    say(format_args!("what a killed consumer held was consumed after {:?}", killed.elapsed()));
    assert_eq!(connection.size(queue.name()).await?, 0);
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

/// A process that sleeps for longer than its session, or its lease: others get what it held. It
/// finds out, and consumes again.
async fn a_stopped_consumer_is_given_up_and_goes_on_later() -> Outcome {
    let connection = connect().await?;
    let queue = queue("stopped");
    fill(&connection, &queue, 0..10).await?;
    let hold = Work::Hold { prefetch: 10 };
    let mut stopped = Process::start(&process_url(), queue.name(), hold)?;
    stopped.has_said(10).await?;
    stopped.signal("-STOP").await?;
    assert_eq!(again(&queue, 10).await?, (0..10).collect::<Vec<_>>());
    stopped.signal("-CONT").await?;
    fill(&connection, &queue, 10..20).await?;
    assert_eq!(stopped.has_said(10).await?, (10..20).collect());
    stopped.kill().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

async fn a_live_consumers_messages_stay_with_it() -> Outcome {
    let (one, other) = (builder(&process_url()).connect().await?, connect().await?);
    let queue = queue("live");
    fill(&one, &queue, 0..10).await?;
    let mut consumer = one.consumer(&queue).prefetch(10).start().await?;
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(next(&mut consumer).await?);
    }
    // Three times what a dead one is given.
    let mut idle = other.consumer(&queue).start().await?;
    let came = timeout(Duration::from_secs(6), idle.next()).await;
    assert!(came.is_err(), "a held message came to another consumer: {came:?}");
    for delivery in held {
        delivery.ack_confirmed().await?;
    }
    assert_eq!(one.size(queue.name()).await?, 0);
    idle.close().await?;
    consumer.close().await?;
    one.delete_queue(queue.name()).await?;
    one.close().await?;
    Ok(other.close().await?)
}

async fn two_live_consumers_never_get_the_same_message() -> Outcome {
    const COUNT: u64 = 2000;
    let connection = connect().await?;
    let queue = queue("shared");
    connection.declare_queue(&queue).await?;
    let consume = |prefetch| {
        let queue = queue.clone();
        async move {
            let connection = connect().await?;
            let mut consumer = connection.consumer(&queue).prefetch(prefetch).start().await?;
            let mut came = Vec::new();
            // Until nothing comes any more.
            while let Ok(Some(delivery)) = timeout(Duration::from_secs(3), consumer.next()).await {
                let delivery = delivery?;
                assert!(!delivery.is_redelivered());
                came.push(delivery.decode::<u64>()?);
                delivery.ack().await?;
            }
            consumer.close().await?;
            connection.close().await?;
            Ok::<_, kombu_core::Error>(came)
        }
    };
    let consumers: Vec<_> = [1, 10, 100].map(|prefetch| tokio::spawn(consume(prefetch))).into();
    for start in (0..COUNT).step_by(100) {
        fill(&connection, &queue, start..start + 100).await?;
    }
    let mut all = Vec::new();
    for consumer in consumers {
        let came = consumer.await??;
        say(format_args!("a consumer got {} of {COUNT}", came.len()));
        all.extend(came);
    }
    all.sort_unstable();
    assert_eq!(all, (0..COUNT).collect::<Vec<_>>());
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

/// The number of kills is that of `KOMBU_TEST_KILLS`, or 50.
async fn kills_at_random_moments_lose_nothing() -> Outcome {
    let connection = connect().await?;
    let queue = queue("kills");
    let kills = count("KOMBU_TEST_KILLS", 50)?;
    let start = || Process::start(&process_url(), queue.name(), Work::Consume { prefetch: 30 });
    let mut tally = kill_consumers(&connection, &queue, kills, start).await?;
    let consumer = connection.consumer(&queue).start().await?;
    tally.take_the_rest(consumer, Duration::from_secs(8)).await?;
    tally.nothing_is_lost();
    assert_eq!(connection.size(queue.name()).await?, 0);
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}

/// How soon is said beside the results.
async fn an_idle_consumer_is_woken() -> Outcome {
    let (from, to) = (connect().await?, connect().await?);
    let queue = queue("wake");
    let mut consumer = to.consumer(&queue).start().await?;
    let producer = from.producer().await?;
    let mut times = Vec::new();
    for number in 0..100_u64 {
        let begun = Instant::now();
        producer.publish(&number).to_queue(&queue).await?;
        assert_eq!(numbers(&mut consumer, 1).await?, [number]);
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    say(format_args!("published, received and acknowledged: median {median:?}, at most {worst:?}"));
    consumer.close().await?;
    to.delete_queue(queue.name()).await?;
    from.close().await?;
    Ok(to.close().await?)
}

async fn one_consumer_gets_messages_in_order() -> Outcome {
    let (from, to) = (connect().await?, connect().await?);
    let queue = queue("order");
    let mut consumer = to.consumer(&queue).prefetch(7).start().await?;
    let publishing = {
        let (from, queue) = (from.clone(), queue.clone());
        tokio::spawn(async move {
            for start in (0..1000).step_by(50) {
                fill(&from, &queue, start..start + 50).await?;
            }
            Outcome::Ok(())
        })
    };
    assert_eq!(numbers(&mut consumer, 1000).await?, (0..1000).collect::<Vec<_>>());
    publishing.await??;
    consumer.close().await?;
    to.delete_queue(queue.name()).await?;
    from.close().await?;
    Ok(to.close().await?)
}

/// With many messages behind and with none; how long it takes is said beside the results. The
/// number is that of `KOMBU_TEST_BACKLOG`, or the transport's.
async fn a_long_queue_is_consumed_in_order() -> Outcome {
    const SOME: u64 = 2000;
    let backlog = u64::try_from(count("KOMBU_TEST_BACKLOG", here::BACKLOG)?)?;
    let connection = connect().await?;
    for behind in [0, backlog] {
        let queue = queue("backlog");
        let begun = Instant::now();
        for start in (0..SOME + behind).step_by(1000) {
            fill(&connection, &queue, start..start + 1000).await?;
        }
        let filled = begun.elapsed();
        let begun = Instant::now();
        let mut consumer = connection.consumer(&queue).prefetch(100).start().await?;
        let first = numbers(&mut consumer, 1).await?;
        let listed = begun.elapsed();
        assert_eq!(first, [0]);
        let begun = Instant::now();
        for number in 1..SOME {
            let delivery = next(&mut consumer).await?;
            assert_eq!(delivery.decode::<u64>()?, number);
            delivery.ack().await?;
        }
        consumer.close().await?;
        say(format_args!(
            "{} published in {filled:?}, the first of them after {listed:?}, the next {SOME} in {:?}",
            SOME + behind,
            begun.elapsed()
        ));
        let left = connection.size(queue.name()).await?;
        assert_eq!(left, behind);
        connection.delete_queue(queue.name()).await?;
    }
    Ok(connection.close().await?)
}

async fn the_largest_message_arrives_and_a_larger_one_is_refused() -> Outcome {
    let connection = connect().await?;
    let queue = queue("large");
    let limit = connection.capabilities().await?.max_message_bytes.ok_or("no limit")?;
    let limit = usize::try_from(limit)?;
    let producer = connection.producer().await?;
    // The body is in base64, with less than a KiB around it.
    let body = vec![b'x'; (limit - 1024) / 4 * 3];
    let raw =
        |body: Vec<u8>| producer.publish_raw(body, "application/data", "binary").to_queue(&queue);
    raw(body.clone()).await?;
    let error = raw(vec![b'x'; limit / 4 * 3 + 1]).await.expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(error.to_string().contains(&limit.to_string()), "it names no limit: {error}");
    assert_eq!(connection.size(queue.name()).await?, 1, "nothing of it is written");
    let mut consumer = connection.consumer(&queue).start().await?;
    let delivery = next(&mut consumer).await?;
    assert!(delivery.body()? == body, "the body arrives as it was");
    // Back and again: it passes through each step in its full size.
    delivery.requeue().await?;
    let delivery = next(&mut consumer).await?;
    assert!(delivery.is_redelivered() && delivery.body()?.len() == body.len());
    delivery.ack_confirmed().await?;
    consumer.close().await?;
    connection.delete_queue(queue.name()).await?;
    Ok(connection.close().await?)
}
