//! How calls end: with their reply, with a reason, never with something left behind.

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use kombu_core::{ErrorKind, Result, RpcClient};
use tokio::time::Instant;

use crate::builder;
use crate::scripted::Script;

async fn client(script: &Arc<Script>) -> Result<RpcClient> {
    builder("scripted://a", script).connect().await?.rpc_client().start().await
}

#[tokio::test(start_paused = true)]
async fn replies_find_their_calls_in_any_order() -> Result<()> {
    let script = Arc::new(Script::default());
    let client = client(&script).await?;
    let (one, two) = (client.call::<_, u8>("q", &1), client.call::<_, u8>("q", &2));
    let answering = async {
        script.requests(2).await;
        script.reply("22").await;
        script.reply("11").await;
    };
    let (one, two, ()) = tokio::join!(one.into_future(), two.into_future(), answering);
    assert_eq!((one?, two?), (11, 22));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_at_its_deadline_and_its_late_reply_disturbs_nobody() -> Result<()> {
    let script = Arc::new(Script::default());
    let client = client(&script).await?;
    let asked = Instant::now();
    let error = client.call::<_, u8>("q", &1).timeout(Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), "cannot call: timed out: no reply within 3s (queue=q)");
    assert_eq!(asked.elapsed(), Duration::from_secs(3));

    // More late replies than any queue on the way could hold.
    for _ in 0..1000 {
        drop(client.call::<_, u8>("q", &1).into_future().now_or_never());
    }
    for _ in 0..1001 {
        script.reply("1").await;
    }
    let (answer, ()) = tokio::join!(client.call::<_, u8>("q", &2).into_future(), async {
        script.requests(1).await;
        script.reply("2").await;
    });
    assert_eq!(answer?, 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn calls_outlive_a_broken_link() -> Result<()> {
    let script = Arc::new(Script::default());
    let client = client(&script).await?;
    let mut consumers = script.consumers.subscribe();
    let (answer, ()) = tokio::join!(client.call::<_, u8>("q", &1).into_future(), async {
        script.requests(1).await;
        script.take_log();
        script.break_links();
        consumers.wait_for(|count| *count == 2).await.unwrap();
        let log = script.take_log();
        assert!(log.iter().any(|line| line.starts_with("queue reply.")), "{log:?}");
        script.reply("1").await;
    });
    assert_eq!(answer?, 1);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_closed_client_lets_its_calls_fail() -> Result<()> {
    let script = Arc::new(Script::default());
    let client = client(&script).await?;
    let (answer, ()) = tokio::join!(client.call::<_, u8>("q", &1).into_future(), async {
        script.requests(1).await;
        client.close().await.unwrap();
    });
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Closed);
    let error = client.call::<_, u8>("q", &1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    client.close().await?;
    assert!(script.take_log().iter().any(|line| line.starts_with("cancel ")));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_dropped_client_leaves_nothing_behind() -> Result<()> {
    let script = Arc::new(Script::default());
    let client = client(&script).await?;
    let call = client.call::<_, u8>("q", &1).into_future();
    drop(client);
    // The client is no handle of this connection's any more but for the call.
    drop(call.now_or_never());
    while Arc::strong_count(&script) > 1 {
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_connection_ends_the_calls() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a", &script).connect().await?;
    let client = connection.rpc_client().start().await?;
    let (answer, closed) = tokio::join!(client.call::<_, u8>("q", &1).into_future(), async {
        script.requests(1).await;
        connection.close().await
    });
    closed?;
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.to_string().contains("the connection was closed"), "{error}");
    Ok(())
}
