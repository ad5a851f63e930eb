//! What is built on queues and exchanges under names of Kombu's.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::case::cases;
use crate::failure::Result;
use crate::pair::Pair;
use crate::seen::Seen;

cases! {
    a_broadcast_is_heard ["fanout"];
    a_simple_queue_hands_over ["direct", "publishing_order"];
}

async fn a_simple_queue_hands_over(pair: &mut Pair) -> Result<()> {
    let name = pair.stage.name("simple");
    pair.stage.clear_later(&name);
    let bodies = [json!("text"), json!({ "number": 5_000_000_000_i64 }), json!([1, null])];
    pair.sender.simple_put(&name, &bodies).await?;
    let seen = pair.receiver.simple_get(&name, bodies.len()).await?;
    let received = seen.iter().map(Seen::json).map(Result::<&Json>::cloned);
    assert_eq!(received.collect::<Result<Vec<_>>>()?, bodies);
    for message in seen {
        assert_eq!((&message.exchange, &message.routing_key), (&json!(name), &json!(name)));
    }
    // And it goes on, with the same queue and the same exchange.
    pair.sender.simple_put(&name, &bodies[..1]).await?;
    assert_eq!(pair.receiver.simple_get(&name, 1).await?[0].json()?, &bodies[0]);
    Ok(())
}

async fn a_broadcast_is_heard(pair: &mut Pair) -> Result<()> {
    let name = pair.stage.name("news");
    pair.stage.clear_later(&name);
    let Pair { sender, receiver, .. } = pair;
    let listening = receiver.listen(&name, 1);
    tokio::pin!(listening);
    // Nobody says when it listens.
    let mut again = tokio::time::interval(Duration::from_millis(100));
    let seen = loop {
        tokio::select! {
            seen = &mut listening => break seen?,
            _ = again.tick() => sender.broadcast(&name, &json!({ "news": 1 })).await?,
        }
    };
    assert_eq!(seen[0].json()?, &json!({ "news": 1 }));
    assert_eq!(seen[0].exchange, json!(name));
    Ok(())
}
