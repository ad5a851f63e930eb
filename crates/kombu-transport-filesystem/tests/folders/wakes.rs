//! Consumers that wait.

use std::fs::{self, File};
use std::io::Write as _;

use kombu_conformance::kit::{Outcome, next, until};
use kombu_core::transport::Publish;
use kombu_core::{Message, Properties, Queue};
use kombu_virtual::envelope::{self, Stamp};
use tokio::time::{Duration, Instant};

use crate::ground::{Ground, cases};

cases! {
    a_waiting_consumer_hears_of_a_message_at_once [];
    a_message_that_kombu_is_still_writing_comes_when_it_is_whole [];
    consumers_of_many_queues_hear_of_each [];
}

async fn a_waiting_consumer_hears_of_a_message_at_once(ground: &Ground) -> Outcome {
    let (connection, other) = (ground.connect().await?, ground.connect().await?);
    let queue = Queue::new("q");
    let mut consumer = connection.consumer(&queue).start().await?;
    let producer = other.producer().await?;
    let mut slowest = Duration::ZERO;
    for round in 0..20 {
        let begun = Instant::now();
        producer.publish(&round).to_queue(&queue).await?;
        next(&mut consumer).await?.ack_confirmed().await?;
        slowest = slowest.max(begun.elapsed());
    }
    // A folder that is polled is looked at once a second.
    assert!(slowest < Duration::from_millis(700), "the slowest took {slowest:?}");
    other.close().await?;
    Ok(connection.close().await?)
}

async fn a_message_that_kombu_is_still_writing_comes_when_it_is_whole(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let queue = Queue::new("q");
    let publish = Publish::new("", "q", Message::new("1", Properties::new()));
    let text = envelope::encode(&publish, &Stamp::new("tag"))?;
    let (half, rest) = text.split_at(text.len() / 2);
    let begin = |name: &str, lock: bool| -> std::io::Result<File> {
        let mut file = File::create(ground.data().join(name))?;
        if lock {
            file.lock()?;
            file.write_all(half.as_bytes())?;
        }
        Ok(file)
    };
    // One is at its beginning, with its name and nothing else; one is locked and half written.
    let mut bare = begin("1_x.q.msg", false)?;
    let mut locked = begin("2_x.q.msg", true)?;
    let mut consumer = connection.consumer(&queue).start().await?;
    until("a claim of both", async || ground.beneath(".claimed").len() == 2).await;
    bare.write_all(text.as_bytes())?;
    drop(bare);
    let delivery = next(&mut consumer).await?;
    assert_eq!(delivery.message().body, "1");
    delivery.ack_confirmed().await?;
    // However long it takes.
    let claimed = ground.beneath(".claimed");
    let begun = Instant::now();
    until("longer than an unlocked file may take", async || {
        assert_eq!(ground.beneath(".claimed"), claimed);
        begun.elapsed() > Duration::from_millis(2500)
    })
    .await;
    locked.write_all(rest.as_bytes())?;
    drop(locked);
    let delivery = next(&mut consumer).await?;
    assert_eq!(delivery.message().body, "1");
    delivery.ack_confirmed().await?;
    assert!(!fs::exists(ground.data().join(".corrupt"))?);
    Ok(connection.close().await?)
}

async fn consumers_of_many_queues_hear_of_each(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let queues: Vec<_> = (0..20).map(|number| Queue::new(format!("q.{number}"))).collect();
    let mut consumer = connection.consumer(queues.clone()).start().await?;
    let producer = connection.producer().await?;
    for queue in &queues {
        producer.publish(queue.name()).to_queue(queue).await?;
        let delivery = next(&mut consumer).await?;
        assert_eq!(delivery.queue(), queue.name());
        delivery.ack_confirmed().await?;
    }
    Ok(connection.close().await?)
}
