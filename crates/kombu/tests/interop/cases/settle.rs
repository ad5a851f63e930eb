//! What becomes of messages that one side held: the other side gets them.

use kombu::{ExchangeType, Outcome};
use serde_json::json;

use crate::case::cases;
use crate::failure::Result;
use crate::pair::Pair;
use crate::post::Post;
use crate::seen::Seen;

cases! {
    acknowledged_is_gone ["size_of_empty"];
    requeued_comes_to_the_other_side ["at_least_once"];
    requeued_is_marked ["redelivered"];
    requeued_comes_first ["requeue_to_head"];
    rejected_is_gone [];
    rejected_is_dead_lettered ["dead_letter"];
    killed_consumer_loses_nothing ["at_least_once", "redelivered"];
}

async fn acknowledged_is_gone(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    pair.send(Post::new("done").queue(&queue)).await?;
    pair.receive_and(&queue, Outcome::Ack).await?;
    assert_eq!(pair.sender.size(queue.name()).await?, 0);
    assert!(pair.sender.get(queue.name()).await?.is_none());
    Ok(())
}

async fn requeued_comes_to_the_other_side(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    let post = Post::new(json!({ "a": 1 }))
        .queue(&queue)
        .option("compression", "gzip")
        .header("n", 5_000_000_000_i64);
    pair.send(post).await?;
    let first = pair.receive_and(&queue, Outcome::Requeue).await?;

    let again = pair.sender.receive(queue.name(), 1).await?;
    assert_eq!(again[0].body, first.body);
    assert_eq!(again[0].headers["n"], 5_000_000_000_i64);
    Ok(())
}

async fn requeued_is_marked(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    pair.send(Post::new("again").queue(&queue)).await?;
    let first = pair.receive_and(&queue, Outcome::Requeue).await?;
    assert!(!first.redelivered);

    let again = pair.sender.receive(queue.name(), 1).await?;
    assert_eq!(again[0].text()?, "again");
    assert!(again[0].redelivered);
    Ok(())
}

async fn requeued_comes_first(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    for body in ["one", "two", "three"] {
        pair.send(Post::new(body).queue(&queue)).await?;
    }
    let first = pair.receive_and(&queue, Outcome::Requeue).await?;
    assert_eq!(first.text()?, "one");

    let seen = pair.sender.receive(queue.name(), 3).await?;
    let bodies = seen.iter().map(Seen::text).collect::<Result<Vec<_>>>()?;
    assert_eq!(bodies, ["one", "two", "three"]);
    Ok(())
}

async fn rejected_is_gone(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    pair.send(Post::new("bad").queue(&queue)).await?;
    pair.send(Post::new("good").queue(&queue)).await?;
    let rejected = pair.receive_and(&queue, Outcome::Reject).await?;
    assert_eq!(rejected.text()?, "bad");
    pair.expect_exactly(&queue, &["good"]).await?;
    assert!(pair.sender.get(queue.name()).await?.is_none());
    Ok(())
}

/// The broker adds headers of its own, with lists, tables and times in them.
async fn rejected_is_dead_lettered(pair: &mut Pair) -> Result<()> {
    let letters = pair.stage.exchange("letters", ExchangeType::Fanout);
    let dead = pair.stage.queue("dead").bind(&letters, "");
    pair.declare(&dead).await?;
    let queue = pair.stage.queue("queue").argument("x-dead-letter-exchange", letters.name());
    pair.declare(&queue).await?;
    pair.send(Post::new("bad").queue(&queue).header("mine", 1)).await?;
    pair.receive_and(&queue, Outcome::Reject).await?;

    let letter = pair.sender.receive(dead.name(), 1).await?.remove(0);
    assert_eq!(letter.text()?, "bad");
    assert_eq!(letter.headers["mine"], 1);
    let death = &letter.headers["x-death"][0];
    assert_eq!(death["reason"], "rejected");
    assert_eq!(death["queue"], queue.name());
    assert_eq!(death["count"], 1);
    assert_eq!(death["routing-keys"], json!([queue.name()]));
    assert!(["timestamp", "datetime"].iter().any(|kind| death["time"]["!"] == *kind), "{death}");
    Ok(())
}

async fn killed_consumer_loses_nothing(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    let posts: Vec<_> = (0..5).map(|number| Post::new(number).queue(&queue)).collect();
    pair.sender.publish(&posts).await?;
    pair.receiver.hold_and_die(queue.name(), 3).await?;

    let seen = pair.sender.receive(queue.name(), 5).await?;
    let mut bodies = seen.iter().map(|seen| seen.json().cloned()).collect::<Result<Vec<_>>>()?;
    bodies.sort_by_key(serde_json::Value::as_i64);
    assert_eq!(json!(bodies), json!([0, 1, 2, 3, 4]));
    let marked = seen.iter().filter(|seen| seen.redelivered).count();
    assert_eq!(marked, 3, "{seen:?}");
    Ok(())
}
