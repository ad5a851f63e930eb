//! Taking single messages.

use kombu_core::ErrorKind;
use kombu_core::transport::Get;

use crate::case::cases;
use crate::cases::ack::filled;
use crate::failure::{Outcome, refused};
use crate::stage::Stage;
use crate::wait::{self, size_becomes};

cases! {
    get_from_an_empty_queue_is_none [];
    get_takes_in_order [];
    get_without_ack_settles [];
    get_from_a_missing_queue_is_not_found [];
    got_message_goes_back_when_its_channel_closes ["at_least_once"];
    get_beside_a_consumer_takes_another_message [];
}

async fn get_from_an_empty_queue_is_none(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 0).await?;
    for _ in 0..3 {
        let got = wait::soon("a get", connection.get(queue.name())).await??;
        assert!(got.is_none(), "{got:?}");
    }
    Ok(connection.close().await?)
}

async fn get_takes_in_order(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 5).await?;
    let channel = connection.channel();
    assert_eq!(wait::get_ids(&channel, queue.name(), 5).await?, [0, 1, 2, 3, 4]);
    assert!(channel.get(queue.name()).await?.is_none());
    Ok(connection.close().await?)
}

async fn get_without_ack_settles(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 2).await?;
    let channel = connection.channel();
    let mut get = Get::new(queue.name());
    get.no_ack = true;
    let first = channel.get_with(&get).await?.expect("two messages wait");
    assert_eq!(first.decode::<u64>()?, 0);
    // Nothing is left to settle, and trying is no error.
    first.ack().await?;
    channel.close().await?;
    size_becomes(&connection, queue.name(), 1).await?;
    assert_eq!(wait::get_ids(&channel, queue.name(), 1).await?, [1]);
    Ok(connection.close().await?)
}

async fn get_from_a_missing_queue_is_not_found(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let missing = stage.name("missing");
    let error = refused(connection.get(&missing).await, &[ErrorKind::NotFound])?;
    assert!(error.to_string().contains(&missing), "it does not name the queue: {error}");
    let queue = filled(stage, &connection, 1).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 1).await?, [0]);
    Ok(connection.close().await?)
}

async fn got_message_goes_back_when_its_channel_closes(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 1).await?;
    let channel = connection.channel();
    let held = wait::get(&channel, queue.name()).await?;
    size_becomes(&connection, queue.name(), 0).await?;
    channel.close().await?;
    size_becomes(&connection, queue.name(), 1).await?;
    drop(held);
    // Also when nobody closes anything, and the handles are dropped.
    let channel = connection.channel();
    drop(wait::get(&channel, queue.name()).await?);
    drop(channel);
    size_becomes(&connection, queue.name(), 1).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 1).await?, [0]);
    Ok(connection.close().await?)
}

async fn get_beside_a_consumer_takes_another_message(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 3).await?;
    let mut consumer = connection.consumer(&queue).prefetch(1).start().await?;
    let held = wait::next(&mut consumer).await?;
    let got = wait::get(&connection.channel(), queue.name()).await?;
    assert_eq!((held.decode::<u64>()?, got.decode::<u64>()?), (0, 1));
    held.ack().await?;
    got.ack().await?;
    assert_eq!(wait::ids(&mut consumer, 1).await?, [2]);
    consumer.close().await?;
    Ok(connection.close().await?)
}
