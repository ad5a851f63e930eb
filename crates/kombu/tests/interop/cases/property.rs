//! Properties: priority, expiration, delivery mode and the identifiers.

use kombu::transport::PriorityOrder;
use serde_json::json;

use crate::case::cases;
use crate::failure::Result;
use crate::pair::Pair;
use crate::post::Post;

cases! {
    all_of_them [];
    defaults [];
    delivery_mode [];
    expiration_as_text ["message_expiration"];
    expired_messages_do_not_arrive ["message_expiration"];
    priorities_are_served_in_order ["priority"];
}

async fn all_of_them(pair: &mut Pair) -> Result<()> {
    let given = [
        ("app_id", json!("encoder")),
        ("correlation_id", json!("c-1")),
        ("delivery_mode", json!(1)),
        ("message_id", json!("m-1")),
        ("priority", json!(3)),
        ("reply_to", json!("replies")),
        ("timestamp", json!(1_767_323_045)),
        ("type", json!("video.encode")),
    ];
    let add = |post: Post| given.iter().fold(post, |post, (n, v)| post.option(n, v.clone()));
    let seen = pair.round_trip("x", add).await?;
    for (name, value) in &given {
        assert_eq!(seen.properties.get(*name), Some(value), "property {name}");
    }
    assert_eq!(seen.properties.len(), given.len(), "{:?}", seen.properties);
    Ok(())
}

/// Both sides say persistent and priority 0 without being asked.
async fn defaults(pair: &mut Pair) -> Result<()> {
    let seen = pair.round_trip("x", |post| post).await?;
    assert_eq!(json!(seen.properties), json!({ "delivery_mode": 2, "priority": 0 }));
    assert!(seen.headers.is_empty(), "{:?}", seen.headers);
    Ok(())
}

async fn delivery_mode(pair: &mut Pair) -> Result<()> {
    for mode in [1, 2] {
        let seen = pair.round_trip("x", |post| post.option("delivery_mode", mode)).await?;
        assert_eq!(seen.properties["delivery_mode"], mode);
    }
    Ok(())
}

async fn expiration_as_text(pair: &mut Pair) -> Result<()> {
    for (seconds, text) in [(60.0, "60000"), (61.5, "61500"), (62.1239, "62123")] {
        let seen = pair.round_trip("x", |post| post.option("expiration", seconds)).await?;
        assert_eq!(seen.properties["expiration"], text);
    }
    Ok(())
}

async fn expired_messages_do_not_arrive(pair: &mut Pair) -> Result<()> {
    let queue = pair.queue().await?;
    let post =
        |body: &str, seconds: f64| Post::new(body).queue(&queue).option("expiration", seconds);
    pair.send(post("old", 0.05)).await?;
    pair.size_becomes(&queue, 0).await?;
    pair.send(post("new", 60.0)).await?;
    pair.expect_exactly(&queue, &["new"]).await
}

async fn priorities_are_served_in_order(pair: &mut Pair) -> Result<()> {
    let queue = pair.stage.queue("queue").max_priority(9);
    pair.declare(&queue).await?;
    for (body, priority) in [("a", 0), ("b", 6), ("c", 3), ("d", 9), ("e", 6), ("f", 0)] {
        let post = Post::new(body).queue(&queue).option("priority", priority);
        pair.send(post).await?;
    }
    let seen = pair.receiver.receive(queue.name(), 6).await?;
    let bodies = seen.iter().map(|seen| seen.text()).collect::<Result<String>>()?;
    let expected = match pair.stage.can().priority_order {
        PriorityOrder::HighFirst => "dbecaf",
        PriorityOrder::LowFirst => "afcbed",
    };
    assert_eq!(bodies, expected);
    Ok(())
}
