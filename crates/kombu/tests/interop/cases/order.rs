//! Many messages keep their order.

use serde_json::{Value as Json, json};

use crate::case::cases;
use crate::failure::Result;
use crate::pair::Pair;
use crate::post::Post;
use crate::seen::Seen;

cases! {
    a_thousand_messages [];
}

async fn a_thousand_messages(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    let bodies: Vec<Json> = (0..1000).map(|number| json!({ "number": number })).collect();
    let posts: Vec<_> = bodies.iter().map(|body| Post::new(body.clone()).queue(&queue)).collect();
    pair.sender.publish(&posts).await?;

    let mut received = Vec::new();
    while received.len() < bodies.len() {
        let seen = pair.receiver.receive(queue.name(), 250).await?;
        let some = seen.iter().map(Seen::json).map(Result::<&Json>::cloned);
        received.extend(some.collect::<Result<Vec<_>>>()?);
    }
    assert_eq!(received, bodies);
    assert!(pair.receiver.get(queue.name()).await?.is_none());
    Ok(())
}
