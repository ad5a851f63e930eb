//! Requests and answers over `reply_to` and `correlation_id`.

use serde_json::json;

use crate::case::cases;
use crate::failure::Result;
use crate::notation::{date, decimal};
use crate::pair::Pair;

cases! {
    replies_of_many_requests_are_collected [];
    the_sender_calls_and_the_receiver_serves [];
}

async fn the_sender_calls_and_the_receiver_serves(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    let bodies = [
        json!({ "question": "grüße?" }),
        json!([1, date("2026-01-02"), decimal("1.50")]),
        json!("text"),
    ];
    let Pair { sender, receiver, .. } = pair;
    let calls = async {
        let mut replies = Vec::new();
        for body in &bodies {
            replies.push(sender.call(queue.name(), body).await?);
        }
        Result::Ok(replies)
    };
    let (served, replies) = tokio::try_join!(receiver.serve(queue.name(), bodies.len()), calls)?;
    for ((request, reply), body) in served.iter().zip(&replies).zip(&bodies) {
        assert_eq!(request.json()?, body);
        assert_eq!(reply.json()?, &json!({ "echo": body }));
        assert_eq!(reply.properties["correlation_id"], request.properties["correlation_id"]);
        assert_eq!(reply.routing_key, request.properties["reply_to"]);
        assert_eq!(reply.content_type, "application/json");
    }
    assert_eq!(replies.len(), bodies.len());
    Ok(())
}

async fn replies_of_many_requests_are_collected(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    let bodies: Vec<_> = (0..5).map(|number| json!({ "number": number })).collect();
    let Pair { sender, receiver, .. } = pair;
    let serving = receiver.serve(queue.name(), bodies.len());
    let (served, mut replies) = tokio::try_join!(serving, sender.collect(queue.name(), &bodies))?;
    assert_eq!(served.len(), bodies.len());
    replies.sort_by_key(|reply| reply["echo"]["number"].as_u64());
    let expected: Vec<_> = bodies.iter().map(|body| json!({ "echo": body })).collect();
    assert_eq!(replies, expected);
    // Nothing is left for anyone.
    assert_eq!(served.iter().filter(|request| request.redelivered).count(), 0);
    Ok(())
}
