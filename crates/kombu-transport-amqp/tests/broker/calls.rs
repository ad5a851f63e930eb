//! Declarations, gets and what becomes of dropped calls.

use std::sync::Arc;

use futures_util::future::{join_all, poll_immediate};
use kombu_core::transport::{Get, Outcome, Settle};
use kombu_core::{ErrorKind, Queue, Scope};

use crate::cases;
use crate::stage::{Case, Stage, get, message, publish, soon, to_queue};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        publish_and_get,
        dropped_calls_mix_up_nothing,
        a_dropped_get_loses_no_message,
        concurrent_declares_get_their_own_answers,
        channel_numbers_do_not_run_out,
        an_error_kills_only_its_channel,
        names_that_are_too_long_are_refused,
    ]
}

async fn publish_and_get(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    publish(&channel, to_queue(&queue, message("a"))).await.unwrap();
    let delivery = get(&channel, &queue).await;
    assert_eq!(delivery.message.body, "a");
    assert_eq!(delivery.routing_key, queue);
    assert!(!delivery.redelivered);
    channel.settle(Settle::one(delivery.tag, Outcome::Requeue)).unwrap().await.unwrap();
    let delivery = get(&channel, &queue).await;
    assert!(delivery.redelivered);
    channel.settle(Settle::one(delivery.tag, Outcome::Ack)).unwrap().await.unwrap();
    let error = channel.settle(Settle::one(delivery.tag, Outcome::Ack)).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MessageState);
    assert!(channel.get(&Get::new(&queue)).await.unwrap().is_none());
    connection.close().await.unwrap();
}

async fn dropped_calls_mix_up_nothing(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    for round in 0..50 {
        let dropped = Queue::new(stage.name(&format!("dropped-{round}"))).exclusive(true);
        let mut call = channel.declare_queue(&dropped);
        // Polled once, it is under way.
        let _rarely_ready = poll_immediate(&mut call).await;
        drop(call);
        let wanted = Queue::new(stage.name(&format!("wanted-{round}"))).exclusive(true);
        let declared = soon(channel.declare_queue(&wanted)).await.unwrap();
        assert_eq!(declared.name, wanted.name());
    }
    connection.close().await.unwrap();
}

async fn a_dropped_get_loses_no_message(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let queue = stage.queue(&channel).await;
    publish(&channel, to_queue(&queue, message("kept"))).await.unwrap();
    for mut request in [Get::new(&queue), Get::new(&queue)] {
        request.no_ack = !request.no_ack;
        for _ in 0..20 {
            let mut call = channel.get(&request);
            let polled = poll_immediate(&mut call).await;
            drop(call);
            if let Some(got) = polled {
                assert!(got.unwrap().is_none(), "it was got by a call that was not dropped");
            }
        }
    }
    assert_eq!(get(&channel, &queue).await.message.body, "kept");
    connection.close().await.unwrap();
}

async fn concurrent_declares_get_their_own_answers(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let declares = (0..100).map(|number| {
        let (channel, name) = (Arc::clone(&channel), stage.name(&number.to_string()));
        tokio::spawn(async move {
            let queue = Queue::new(&name).exclusive(true);
            assert_eq!(channel.declare_queue(&queue).await.unwrap().name, name);
        })
    });
    for declared in soon(join_all(declares)).await {
        declared.unwrap();
    }
    connection.close().await.unwrap();
}

async fn channel_numbers_do_not_run_out(stage: Stage) {
    let connection = stage.connect().await;
    let missing = Queue::new(stage.name("missing")).passive(true);
    for _ in 0..3_000 {
        let channel = soon(connection.open_channel()).await.unwrap();
        let error = soon(channel.declare_queue(&missing)).await.unwrap_err();
        assert_eq!((error.kind(), error.scope()), (ErrorKind::NotFound, Scope::Channel));
    }
    let channel = connection.open_channel().await.unwrap();
    let queue = stage.queue(&channel).await;
    publish(&channel, to_queue(&queue, message("x"))).await.unwrap();
    assert_eq!(get(&channel, &queue).await.message.body, "x");
    connection.close().await.unwrap();
}

async fn an_error_kills_only_its_channel(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let other = connection.open_channel().await.unwrap();
    let queue = stage.queue(&other).await;
    let missing = stage.name("missing");
    let error = channel.get(&Get::new(&missing)).await.unwrap_err();
    assert_eq!((error.kind(), error.scope()), (ErrorKind::NotFound, Scope::Channel));
    assert!(error.to_string().contains(&format!("no queue '{missing}'")), "{error}");
    assert_eq!(soon(channel.lost()).await.kind(), ErrorKind::NotFound);
    let error = channel.purge(&queue).await.unwrap_err();
    assert_eq!(error.scope(), Scope::Channel, "{error}");
    assert_ne!(error.kind(), ErrorKind::NotFound, "{error}");
    let error = channel.publish(to_queue(&queue, message("x"))).await.map(drop).unwrap_err();
    assert_eq!(error.scope(), Scope::Channel, "{error}");
    assert_eq!(other.purge(&queue).await.unwrap(), 0);
    connection.close().await.unwrap();
}

async fn names_that_are_too_long_are_refused(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    let long = "x".repeat(256);
    let error = channel.declare_queue(&Queue::new(&long)).await.unwrap_err();
    assert_eq!((error.kind(), error.scope()), (ErrorKind::InvalidArgument, Scope::Local));
    let error = channel.get(&Get::new(&long)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let error = channel.publish(to_queue(&long, message("x"))).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    let longest = "é".repeat(127) + "x";
    let queue = Queue::new(&longest).exclusive(true);
    channel.declare_queue(&queue).await.unwrap();
    publish(&channel, to_queue(&longest, message("x"))).await.unwrap();
    get(&channel, &longest).await;
    connection.close().await.unwrap();
}
