//! Consumers that are killed at random moments.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kombu_core::{Connection, Consumer, Queue};
use tokio::time::{sleep, timeout};

use super::process::Process;
use super::{Result, next, say};

/// What was sent, and how often each of it came.
#[derive(Debug, Default)]
pub struct Tally {
    sent: u64,
    came: BTreeMap<u64, usize>,
}

/// Starts two consumers at a time by `start`, and kills the older one at a random moment from its
/// start on, so many times, while the numbers from 0 on are published.
///
/// Every other one is killed while it works; some of the others are not that far.
///
/// # Errors
///
/// Those of publishing, and a process that fails by itself.
pub async fn kill_consumers(
    connection: &Connection,
    queue: &Queue,
    kills: usize,
    start: impl Fn() -> Result<Process>,
) -> Result<Tally> {
    connection.declare_queue(queue).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn({
        let (producer, queue, stop) =
            (connection.producer().await?, queue.clone(), Arc::clone(&stop));
        async move {
            let mut sent = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let batch = (sent..sent + 50).map(|id| producer.publish(&id).to_queue(&queue));
                for result in producer.publish_batch(batch).await {
                    result?;
                }
                sent += 50;
                sleep(Duration::from_millis(40)).await;
            }
            Ok::<_, kombu_core::Error>(sent)
        }
    });
    let mut tally = Tally::default();
    let mut older = start()?;
    for round in 1..kills {
        let younger = start()?;
        if round % 2 == 0 {
            tally.note(older.has_said(1).await?);
        }
        sleep(Duration::from_millis(random() % 250)).await;
        tally.note(older.kill().await?);
        older = younger;
    }
    tally.note(older.kill().await?);
    stop.store(true, Ordering::Relaxed);
    tally.sent = publishing.await??;
    Ok(tally)
}

impl Tally {
    /// Notes what came elsewhere.
    pub fn note(&mut self, numbers: impl IntoIterator<Item = u64>) {
        numbers.into_iter().for_each(|number| *self.came.entry(number).or_default() += 1);
    }

    /// Takes what is left, until nothing has come for a while: longer than dead consumers are
    /// taken for living.
    ///
    /// # Errors
    ///
    /// Those of the consumer.
    pub async fn take_the_rest(&mut self, mut consumer: Consumer, quiet: Duration) -> Result<()> {
        while let Ok(delivery) = timeout(quiet, next(&mut consumer)).await {
            let delivery = delivery?;
            self.note([delivery.decode()?]);
            delivery.ack_confirmed().await?;
        }
        Ok(consumer.close().await?)
    }

    /// Checks that everything came, and that kills left something behind at all.
    ///
    /// # Panics
    ///
    /// When something is missing, or nothing came twice.
    pub fn nothing_is_lost(&self) {
        let Self { sent, came } = self;
        let missing: Vec<_> = (0..*sent).filter(|id| !came.contains_key(id)).collect();
        assert!(missing.is_empty(), "{} of {sent} are lost: {missing:?}", missing.len());
        assert_eq!(came.keys().sum::<u64>(), (0..*sent).sum::<u64>());
        let again = came.values().filter(|times| **times > 1).count();
        assert!(again > 0, "no kill left anything behind, in {sent} messages");
        say(format_args!("{sent} messages came, {again} of them more than once"));
    }
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
