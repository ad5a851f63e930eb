//! Calls at the same time, and calls that are dropped half way.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{try_join, try_join_all, try_join3};
use kombu_core::{Connection, Error, ErrorKind, Queue};
use tokio::time::sleep;

use crate::case::cases;
use crate::failure::{Failure, Outcome, refused};
use crate::stage::Stage;
use crate::wait::{self, soon};

cases! {
    calls_can_be_dropped ["at_least_once"];
    dropped_declarations_leave_a_usable_channel ["direct"];
    dropped_next_loses_nothing [];
    calls_run_concurrently ["direct"];
    errors_of_one_call_are_no_matter_of_another [];
    many_channels_work_at_once [];
    channel_lives_on_after_errors [];
}

/// Polls a future, and drops it after so many wake-ups or milliseconds; nought drops it unpolled.
pub(super) async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    let mut end = pin!(sleep(Duration::from_millis(times as u64)));
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => end.as_mut().poll(context).map(|()| None),
        }
    })
    .await
}

/// A number from 0 up to a bound, another one at each call, the same in each run.
fn scattered(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % below
}

/// What became of messages whose publishes and fetches were dropped.
#[derive(Debug, Default)]
struct Ledger {
    /// Numbers of published messages, and whether the broker confirmed them.
    published: BTreeMap<u64, bool>,
    /// Numbers of received messages, and how often each came.
    received: BTreeMap<u64, usize>,
}

impl Ledger {
    fn receive(&mut self, id: u64) {
        *self.received.entry(id).or_default() += 1;
    }

    /// The messages that were confirmed and never came.
    fn lost(&self) -> Vec<u64> {
        let confirmed = self.published.iter().filter(|(_, confirmed)| **confirmed);
        confirmed.map(|(id, _)| *id).filter(|id| !self.received.contains_key(id)).collect()
    }

    fn check(&self) {
        let lost = self.lost();
        assert!(lost.is_empty(), "confirmed and never received: {lost:?}");
        let made_up: Vec<_> =
            self.received.keys().filter(|id| !self.published.contains_key(id)).collect();
        assert!(made_up.is_empty(), "received and never published: {made_up:?}");
        // A message was acknowledged once: whatever came twice was published or taken twice.
        let twice: Vec<_> = self.received.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "received more than once: {twice:?}");
    }
}

async fn calls_can_be_dropped(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    connection.declare_queue(&queue).await?;
    let producer = connection.producer().await?;
    let channel = connection.channel();
    let mut consumer = connection.consumer(&queue).prefetch(3).start().await?;
    let mut ledger = Ledger::default();
    let mut state = 42;
    for id in 0..300_u64 {
        let polls = usize::try_from(scattered(&mut state, 5)).unwrap_or_default();
        // Without retry, or a dropped publish might be made again by nobody's wish.
        let publish = async { producer.publish(&id).to_queue(&queue).await };
        let confirmed = polled(polls, publish).await;
        ledger.published.insert(id, matches!(confirmed, Some(Ok(()))));
        if let Some(result) = confirmed {
            result?;
        }
        let polls = usize::try_from(scattered(&mut state, 6)).unwrap_or_default();
        if let Some(taken) = polled(polls, channel.get(queue.name())).await
            && let Some(delivery) = taken?
        {
            ledger.receive(delivery.decode()?);
            delivery.ack().await?;
        }
        let polls = usize::try_from(scattered(&mut state, 4)).unwrap_or_default();
        if let Some(next) = polled(polls, consumer.next()).await {
            let delivery = next.ok_or_else(|| Failure::new("the stream ended"))??;
            ledger.receive(delivery.decode()?);
            delivery.ack().await?;
        }
        let polls = usize::try_from(scattered(&mut state, 4)).unwrap_or_default();
        drop(polled(polls, channel.size(queue.name())).await);
    }
    // What a dropped get took comes back with the end of its channel.
    consumer.close().await?;
    channel.close().await?;
    producer.channel().close().await?;
    drain(stage, &queue, &mut ledger).await?;
    ledger.check();
    connection.close().await?;
    Ok(())
}

/// Takes all that is left in a queue, with a connection that dropped nothing.
async fn drain(stage: &Stage, queue: &Queue, ledger: &mut Ledger) -> Outcome {
    let connection = stage.connect().await?;
    connection.declare_queue(queue).await?;
    connection.producer().await?.publish(&u64::MAX).to_queue(queue).await?;
    let channel = connection.channel();
    let mut fenced = false;
    let drained = wait::eventually("all confirmed messages to come", async || {
        while let Some(delivery) = channel.get(queue.name()).await? {
            match delivery.decode()? {
                u64::MAX => fenced = true,
                id => ledger.receive(id),
            }
            delivery.ack().await?;
        }
        Ok(fenced && ledger.lost().is_empty())
    });
    // The ledger says which did not come.
    let _late = drained.await;
    Ok(connection.close().await?)
}

async fn dropped_declarations_leave_a_usable_channel(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let channel = connection.channel();
    let exchange = stage.direct("media");
    let queue = stage.queue("work").bind(&exchange, "key");
    for polls in 0..25 {
        drop(polled(polls % 8, channel.declare_queue(&queue)).await);
        drop(polled(polls % 5, channel.purge(queue.name())).await);
        drop(polled(polls % 3, channel.delete_queue(queue.name())).await);
        channel.declare_queue(&queue).await?;
    }
    let producer = connection.producer().await?;
    producer.publish(&1).to(&exchange, "key").await?;
    assert_eq!(wait::get_ids(&channel, queue.name(), 1).await?, [1]);
    Ok(connection.close().await?)
}

async fn dropped_next_loses_nothing(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    let producer = connection.producer().await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    let mut came = Vec::new();
    let mut state = 7;
    for id in 0..100_u64 {
        producer.publish(&id).to_queue(&queue).await?;
        for _ in 0..2 {
            let polls = usize::try_from(scattered(&mut state, 3)).unwrap_or_default();
            if let Some(next) = polled(polls, consumer.next()).await {
                let delivery = next.ok_or_else(|| Failure::new("the stream ended"))??;
                came.push(delivery.decode::<u64>()?);
                delivery.ack().await?;
            }
        }
    }
    let left = 100 - came.len();
    came.extend(wait::ids(&mut consumer, left).await?);
    assert_eq!(came, (0..100).collect::<Vec<_>>());
    consumer.close().await?;
    Ok(connection.close().await?)
}

/// A round of all kinds of calls with an exchange and a queue of its own.
async fn round(
    stage: &Stage,
    connection: &Connection,
    channel: &kombu_core::Channel,
    number: u64,
) -> Outcome {
    let exchange = stage.direct(&format!("media{number}"));
    let queue = stage.queue(&format!("work{number}")).bind(&exchange, "key");
    let producer = connection.producer().await?;
    for turn in 0..5 {
        channel.declare_queue(&queue).await?;
        producer.publish(&(number * 10 + turn)).to(&exchange, "key").await?;
        assert_eq!(channel.size(queue.name()).await?, 1);
        let ids = wait::get_ids(channel, queue.name(), 1).await?;
        assert_eq!(ids, [number * 10 + turn]);
        assert_eq!(channel.delete_queue(queue.name()).await?, 0);
    }
    Ok(())
}

async fn calls_run_concurrently(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let channel = connection.channel();
    let rounds = (0..12).map(|number| round(stage, &connection, &channel, number));
    within_limit(try_join_all(rounds)).await?;
    Ok(connection.close().await?)
}

async fn errors_of_one_call_are_no_matter_of_another(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let channel = connection.channel();
    let queue = stage.queue("work");
    let missing = stage.name("missing");
    let failing = async {
        for _ in 0..30 {
            refused(channel.get(&missing).await, &[ErrorKind::NotFound])?;
        }
        Ok::<_, Failure>(())
    };
    let working = async {
        for _ in 0..100 {
            channel.declare_queue(&queue).await?;
        }
        Ok(())
    };
    soon(
        "calls beside failing ones",
        try_join3(failing, working, failing_publishes(stage, &connection)),
    )
    .await??;
    Ok(connection.close().await?)
}

/// Publishes to a queue while publishes to a missing exchange fail on the same channel.
async fn failing_publishes(stage: &Stage, connection: &Connection) -> Outcome {
    let producer = connection.producer().await?;
    let (queue, missing) = (stage.queue("letters"), stage.name("missing"));
    connection.declare_queue(&queue).await?;
    let failing = async {
        for _ in 0..10 {
            let publish = producer.publish(&1).to(missing.as_str(), "key").await;
            refused(publish, &[ErrorKind::NotFound])?;
        }
        Ok::<_, Failure>(())
    };
    let working = async {
        for id in 0..100 {
            producer.publish(&id).to("", queue.name()).await?;
        }
        Ok(())
    };
    try_join(failing, working).await?;
    // At least once: one that was under way when the channel broke may have arrived before.
    let size = connection.size(queue.name()).await?;
    assert!(size >= 100, "{size} of 100 messages arrived");
    Ok(())
}

async fn many_channels_work_at_once(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = stage.queue("work");
    connection.declare_queue(&queue).await?;
    for _ in 0..3 {
        let tasks = (0..20_u64).map(|id| {
            let (connection, queue) = (connection.clone(), queue.clone());
            tokio::spawn(async move {
                connection.producer().await?.publish(&id).to_queue(&queue).await?;
                let channel = connection.channel();
                channel.size(queue.name()).await?;
                channel.close().await
            })
        });
        for done in soon("20 channels", try_join_all(tasks)).await?? {
            done?;
        }
    }
    wait::size_becomes(&connection, queue.name(), 60).await?;
    Ok(connection.close().await?)
}

async fn channel_lives_on_after_errors(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let channel = connection.channel();
    let queue = stage.queue("work");
    for id in 0..20_u64 {
        let missing: Result<_, Error> = channel.get(&stage.name("missing")).await;
        assert!(missing.is_err());
        channel.declare_queue(&queue).await?;
        connection.producer().await?.publish(&id).to("", queue.name()).await?;
        assert_eq!(wait::get_ids(&channel, queue.name(), 1).await?, [id]);
    }
    Ok(connection.close().await?)
}

async fn within_limit<T>(rounds: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    wait::within(Duration::from_secs(25), "the rounds", rounds).await?
}
