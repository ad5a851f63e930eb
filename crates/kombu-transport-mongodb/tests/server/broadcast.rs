//! Fanout exchanges, whose messages are in one collection for all, which each consumer reads by itself.

use kombu_conformance::kit::{Outcome, control, numbers};
use kombu_conformance::own_cases;
use kombu_core::{Connection, Exchange, Queue};
use uuid::Uuid;

use crate::ground::{connect, queue};
use crate::here;

own_cases! {
    beside a_new_queue_gets_all_that_comes_whatever_others_have [];
    beside queues_of_one_exchange_get_the_same_in_order [];
    alone a_restart_between_messages_hides_none [here::CONTROL];
}

fn exchange() -> Exchange {
    Exchange::fanout(format!("ks-all-{}", Uuid::new_v4().simple()))
}

async fn publish(
    connection: &Connection,
    exchange: &Exchange,
    numbers: impl IntoIterator<Item = u64>,
) -> Outcome {
    let producer = connection.producer().await?;
    for number in numbers {
        producer.publish(&number).to(exchange, "").await?;
    }
    Ok(())
}

/// Nothing of what was there before. Kombu skips as many messages of its exchange as there are
/// messages of all.
async fn a_new_queue_gets_all_that_comes_whatever_others_have() -> Outcome {
    let (from, to) = (connect().await?, connect().await?);
    let (other, own) = (exchange(), exchange());
    let first: Queue = queue("first").bind(&other, "");
    to.declare_queue(&first).await?;
    publish(&from, &other, 0..6).await?;
    from.declare_exchange(&own).await?;
    publish(&from, &own, [100, 101]).await?;
    let late: Queue = queue("late").bind(&own, "");
    let mut consumer = to.consumer(&late).start().await?;
    publish(&from, &own, 0..9).await?;
    assert_eq!(numbers(&mut consumer, 9).await?, (0..9).collect::<Vec<_>>());
    assert_eq!((to.size(late.name()).await?, to.size(first.name()).await?), (0, 6));
    consumer.close().await?;
    for name in [first.name(), late.name()] {
        to.delete_queue(name).await?;
    }
    from.close().await?;
    Ok(to.close().await?)
}

async fn queues_of_one_exchange_get_the_same_in_order() -> Outcome {
    const COUNT: u64 = 500;
    let from = connect().await?;
    let exchange = exchange();
    let mut consumers = Vec::new();
    for number in 0..3 {
        // Every other one is of a transport of its own, as in another process.
        let to = connect().await?;
        let queue: Queue = queue(&format!("all-{number}")).bind(&exchange, "");
        let consumer = to.consumer(&queue).prefetch(50).start().await?;
        consumers.push((to, queue, consumer));
    }
    publish(&from, &exchange, 0..COUNT).await?;
    let expected: Vec<_> = (0..COUNT).collect();
    for (to, queue, mut consumer) in consumers {
        assert_eq!(numbers(&mut consumer, expected.len()).await?, expected);
        consumer.close().await?;
        to.delete_queue(queue.name()).await?;
        to.close().await?;
    }
    Ok(from.close().await?)
}

async fn a_restart_between_messages_hides_none() -> Outcome {
    let (from, to) = (connect().await?, connect().await?);
    let exchange = exchange();
    let queue: Queue = queue("restart").bind(&exchange, "");
    let mut consumer = to.consumer(&queue).start().await?;
    publish(&from, &exchange, 0..5).await?;
    assert_eq!(numbers(&mut consumer, 3).await?, [0, 1, 2]);
    for (action, first) in [("restart", 5), ("crash", 10)] {
        control(here::CONTROL, action).await?;
        publish(&from, &exchange, first..first + 5).await?;
    }
    assert_eq!(numbers(&mut consumer, 12).await?, (3..15).collect::<Vec<_>>());
    consumer.close().await?;
    to.delete_queue(queue.name()).await?;
    from.close().await?;
    Ok(to.close().await?)
}
