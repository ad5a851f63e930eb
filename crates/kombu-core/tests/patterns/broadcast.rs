//! Broadcasts.

use kombu_core::{Broadcast, Exchange, ExchangeType, Queue, Result};

use super::{SOON, connect, queue_goes, text};

#[tokio::test]
async fn every_listener_gets_every_message_and_leaves_no_queue() -> Result<()> {
    let connection = connect().await?;
    let news: Vec<_> = (0..3).map(|_| Broadcast::new("news")).collect();
    let mut listeners = Vec::new();
    for broadcast in &news {
        listeners.push(connection.consumer(broadcast).start().await?);
    }
    let producer = connection.producer().await?;
    for body in ["one", "two"] {
        producer.publish(body).to(news[0].exchange(), "").await?;
    }
    for listener in &mut listeners {
        for body in ["one", "two"] {
            let delivery = listener.next().await.unwrap()?;
            assert_eq!(text(&delivery), body);
            delivery.ack().await?;
        }
    }
    for (listener, broadcast) in listeners.into_iter().zip(&news) {
        listener.close().await?;
        queue_goes(&connection, Queue::from(broadcast).name()).await;
    }
    Ok(())
}

#[tokio::test]
async fn listeners_of_one_name_share_the_messages() -> Result<()> {
    let connection = connect().await?;
    let queue = || Broadcast::new("news").queue("desk");
    assert_eq!(Queue::from(queue()), Queue::from(queue()));
    let one = connection.consumer(queue()).prefetch(1).start().await?;
    let two = connection.consumer(queue()).prefetch(1).start().await?;
    let producer = connection.producer().await?;
    for body in ["one", "two"] {
        producer.publish(body).to(queue().exchange(), "").await?;
    }
    let mut seen = Vec::new();
    for consumer in [one, two] {
        let mut consumer = consumer.drain().idle(SOON);
        while let Some(delivery) = consumer.next().await {
            seen.push(text(&delivery?));
        }
    }
    seen.sort();
    assert_eq!(seen, ["one", "two"]);
    Ok(())
}

#[test]
fn names_are_those_of_kombu() {
    let queue = Queue::from(Broadcast::new("news"));
    assert!(queue.name().starts_with("bcast.") && queue.name().len() == 42, "{queue:?}");
    assert!(queue.is_auto_delete() && queue.is_durable() && !queue.is_exclusive());
    let exchange = queue.bindings()[0].exchange();
    assert_eq!((exchange.name(), exchange.kind()), ("news", &ExchangeType::Fanout));
    assert!(exchange.is_durable() && !exchange.is_auto_delete());

    let queue = Queue::from(Broadcast::new("news").unique("desk"));
    assert!(queue.name().starts_with("desk.") && queue.name().len() == 41, "{queue:?}");
    let kept =
        Queue::from(Broadcast::on(Exchange::fanout("x")).with(|queue| queue.auto_delete(false)));
    assert!(!kept.is_auto_delete());
    assert_eq!(kept.bindings()[0].exchange().name(), "x");
}
