//! Consumers come and go at random moments over a slow store: no message is lost, none is settled
//! twice, and order holds.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kombu_core::Queue;
use kombu_core::transport::{ConsumerTag, Outcome, RawConnection, RawDelivery, Settle};
use tokio::time::timeout;

use crate::broker::{Knobs, TestBroker, consume, fill, publication, soon, text};

const MESSAGES: usize = 60;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

fn knobs(seed: u64) -> Knobs {
    Knobs {
        seed: Some(seed),
        loop_per_queue: seed.is_multiple_of(2),
        settle_batch: Some(if seed.is_multiple_of(3) { 3 } else { 1000 }),
        stubborn: seed.is_multiple_of(5),
        ..Knobs::default()
    }
}

/// Whether a session is over when its consumer is gone, or may end in the background.
#[derive(Clone, Copy, PartialEq)]
enum Ends {
    Now,
    Later,
}

/// One consumer's life: takes some messages, settles those that `settle` wants, and ends in one of
/// the ways that there are.
async fn session(
    broker: &Arc<TestBroker>,
    connection: &Arc<dyn RawConnection>,
    ends: Ends,
    mut settle: impl FnMut(&RawDelivery) -> Option<Outcome>,
) {
    let channel = connection.open_channel().await.unwrap();
    let prefetch = broker.pick([0, 1, 3, 10]);
    let batches = broker.pick([1, 2, 64]);
    let mut inbox = consume(&*channel, "q", prefetch, batches).await;
    let mut left = broker.random(25);
    let patience = Duration::from_millis(broker.random(40));
    let mut confirms = Vec::new();
    'receiving: while let Ok(Some(batch)) = timeout(patience, inbox.next()).await {
        for delivery in batch {
            if left == 0 {
                break 'receiving;
            }
            left -= 1;
            if let Some(outcome) = settle(&delivery) {
                confirms.push(channel.settle(Settle::one(delivery.tag, outcome)).unwrap());
            }
        }
    }
    if broker.random(2) == 0 {
        for confirm in confirms.drain(..) {
            soon(confirm).await.unwrap();
        }
    }
    match broker.random(5) {
        0 => soon(channel.close()).await.unwrap(),
        1 => {
            soon(channel.cancel(&ConsumerTag::new("q"))).await.unwrap();
            soon(channel.close()).await.unwrap();
        }
        2 => {
            drop(inbox);
            soon(channel.close()).await.unwrap();
        }
        3 => {
            // The closing goes on although nobody waits for it.
            drop(timeout(Duration::from_millis(1), channel.close()).await);
            if ends == Ends::Now {
                soon(channel.close()).await.unwrap();
            }
        }
        _ if ends == Ends::Now => soon(channel.close()).await.unwrap(),
        _ => drop(channel),
    }
    for confirm in confirms {
        soon(confirm).await.unwrap();
    }
}

/// Waits until nothing is held any more.
async fn settle_down(broker: &TestBroker) {
    soon(async {
        while broker.held() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[test]
fn nothing_is_lost_and_nothing_settled_twice() {
    for seed in 0..150 {
        runtime().block_on(async {
            let broker = TestBroker::new(knobs(seed));
            let connections = [broker.connect(), broker.connect()];
            let publisher = connections[0].open_channel().await.unwrap();
            publisher.declare_queue(&Queue::new("q")).await.unwrap();
            let mut confirms = Vec::new();
            for number in 0..MESSAGES {
                let publish = publication("q", &number.to_string());
                confirms.push(publisher.publish(publish).await.unwrap());
            }
            let mut acknowledged = Vec::new();
            for _ in 0..8 {
                let mut one = Vec::new();
                let mut two = Vec::new();
                let some = |taken: &mut Vec<String>, delivery: &RawDelivery| match broker.random(4)
                {
                    0 => None,
                    1 => Some(Outcome::Requeue),
                    _ => {
                        taken.push(text(delivery));
                        Some(Outcome::Ack)
                    }
                };
                tokio::join!(
                    session(&broker, &connections[0], Ends::Later, |delivery| some(
                        &mut one, delivery
                    )),
                    session(&broker, &connections[1], Ends::Later, |delivery| some(
                        &mut two, delivery
                    )),
                );
                acknowledged.extend(one.into_iter().chain(two));
            }
            for confirm in confirms {
                soon(confirm).await.unwrap();
            }
            settle_down(&broker).await;
            let waiting = broker.waiting("q");
            let all: BTreeSet<_> = acknowledged.iter().chain(&waiting).collect();
            assert_eq!(all.len(), MESSAGES, "seed {seed}: lost some");
            assert_eq!(
                acknowledged.len() + waiting.len(),
                MESSAGES,
                "seed {seed}: some were acknowledged and came again"
            );
            for connection in connections {
                soon(connection.close()).await.unwrap();
            }
        });
    }
}

#[test]
fn a_queue_keeps_its_order_over_consumers_that_come_and_go() {
    for seed in 0..150 {
        runtime().block_on(async {
            let broker = TestBroker::new(knobs(seed));
            let connection = broker.connect();
            let publisher = connection.open_channel().await.unwrap();
            publisher.declare_queue(&Queue::new("q")).await.unwrap();
            fill(&*publisher, "q", MESSAGES).await;
            let mut next = 0;
            while next < MESSAGES {
                session(&broker, &connection, Ends::Now, |delivery| {
                    assert_eq!(text(delivery), next.to_string(), "seed {seed}");
                    next += 1;
                    Some(Outcome::Ack)
                })
                .await;
                // What it held is back.
                assert_eq!(broker.held(), 0, "seed {seed}");
            }
            assert_eq!(broker.waiting("q"), Vec::<String>::new());
            soon(connection.close()).await.unwrap();
        });
    }
}

#[test]
fn calls_that_nobody_waits_for_lose_nothing() {
    for seed in 0..100 {
        runtime().block_on(async {
            let broker = TestBroker::new(knobs(seed));
            let channel = broker.channel().await;
            channel.declare_queue(&Queue::new("q")).await.unwrap();
            fill(&*channel, "q", 10).await;
            let get = kombu_core::transport::Get::new("q");
            let mut taken = BTreeSet::new();
            for _ in 0..20 {
                let patience = Duration::from_millis(broker.random(12));
                if let Ok(Ok(Some(delivery))) = timeout(patience, channel.get(&get)).await {
                    channel.settle(Settle::one(delivery.tag, Outcome::Ack)).unwrap().await.unwrap();
                    assert!(taken.insert(text(&delivery)), "seed {seed}: came twice");
                }
            }
            settle_down(&broker).await;
            let waiting = broker.waiting("q");
            assert_eq!(taken.len() + waiting.len(), 10, "seed {seed}");
            soon(channel.close()).await.unwrap();
        });
    }
}
