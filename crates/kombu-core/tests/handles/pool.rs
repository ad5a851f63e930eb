//! How pools lend: no more than the limit, nothing dead, nothing lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use kombu_core::pool::{ConnectionPool, PoolBuilder};
use kombu_core::{Connection, ConnectionState, ErrorKind, Pools, Result, RetryPolicy};
use tokio::time::Instant;

use crate::builder;
use crate::scripted::{Script, Scripted};

const MINUTE: Duration = Duration::from_secs(60);

fn pool(
    script: &Arc<Script>,
    configure: impl FnOnce(PoolBuilder) -> PoolBuilder,
) -> Result<ConnectionPool> {
    Ok(configure(builder("scripted://a", script).build()?.pool()).build())
}

fn links(script: &Script) -> u64 {
    *script.links.borrow()
}

#[tokio::test(start_paused = true)]
async fn no_more_are_lent_than_the_limit() -> Result<()> {
    let script = Arc::new(Script::default());
    let pool = pool(&script, |pool| pool.limit(2))?;
    let one = pool.acquire().await?;
    let _two = pool.acquire().await?;
    assert_eq!((pool.lent(), pool.limit(), links(&script)), (2, 2, 2));

    let error = pool.try_acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert_eq!(
        error.to_string(),
        "cannot borrow a connection: limit exceeded: all are lent (limit=2)"
    );
    let asked = Instant::now();
    let error = pool.acquire_within(Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    assert_eq!(asked.elapsed(), Duration::from_secs(3));

    let (third, ()) = tokio::join!(pool.acquire(), async { drop(one) });
    drop(third?);
    assert_eq!(links(&script), 2, "what came back is lent again");
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_served_in_turn() -> Result<()> {
    let script = Arc::new(Script::default());
    let pool = pool(&script, |pool| pool.limit(1))?;
    let held = pool.acquire().await?;
    let mut first = Box::pin(pool.acquire());
    let mut second = Box::pin(pool.acquire());
    assert!(first.as_mut().now_or_never().is_none());
    assert!(second.as_mut().now_or_never().is_none());
    drop(held);
    assert!(second.as_mut().now_or_never().is_none(), "the first one is served first");
    drop(first.await?);
    drop(second.await?);
    assert_eq!((pool.lent(), links(&script)), (0, 1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_leaves_the_place_to_others() -> Result<()> {
    let script = Arc::new(Script::default());
    script.kill("a");
    let pool = pool(&script, |pool| pool.limit(1))?;
    {
        // It has the place, and waits for a link.
        let mut dropped = Box::pin(pool.acquire());
        assert!(dropped.as_mut().now_or_never().is_none());
        assert_eq!(pool.lent(), 1);
    }
    assert_eq!(pool.lent(), 0);
    script.revive("a");
    drop(pool.acquire().await?);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn the_one_that_came_back_last_is_lent_next() -> Result<()> {
    let script = Arc::new(Script::default());
    let connection = builder("scripted://a;scripted://b", &script).build()?;
    let pool = connection.pool().limit(2).build();
    let one = pool.acquire().await?;
    script.kill("a");
    let two = pool.acquire().await?;
    let where_is = |connection: &Connection| match connection.state() {
        ConnectionState::Connected(url) => url,
        other => panic!("it is {other:?}"),
    };
    assert!(where_is(&one).ends_with("//a") && where_is(&two).ends_with("//b"));
    drop(one);
    drop(two);
    assert!(where_is(&*pool.acquire().await?).ends_with("//b"));
    assert!(where_is(&*pool.acquire().await?).ends_with("//b"));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_closed_is_replaced() -> Result<()> {
    let script = Arc::new(Script::default());
    let pool = pool(&script, |pool| pool.limit(1))?;
    let lent = pool.acquire().await?;
    let clone = lent.clone();
    lent.close().await?;
    drop(lent);
    let lent = pool.acquire().await?;
    assert!(matches!(lent.state(), ConnectionState::Connected(_)));
    assert!(matches!(clone.state(), ConnectionState::Closed));

    // Closed by somebody else, after it came back.
    let clone = lent.clone();
    drop(lent);
    clone.close().await?;
    let lent = pool.acquire().await?;
    assert!(matches!(lent.state(), ConnectionState::Connected(_)));
    assert_eq!(links(&script), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_lent_with_its_link_up() -> Result<()> {
    let script = Arc::new(Script::default());
    let pool = pool(&script, |pool| pool.limit(2))?;
    let mut made = script.links.subscribe();
    for round in 0..20 {
        let lent = pool.acquire().await?;
        assert!(matches!(lent.state(), ConnectionState::Connected(_)), "in round {round}");
        drop(lent);
        let before = *made.borrow_and_update();
        script.break_links();
        // Lent again before the loss is seen, while it is, or after a new link is there.
        match round % 3 {
            0 => {}
            1 => tokio::task::yield_now().await,
            _ => drop(made.wait_for(|links| *links > before).await.unwrap()),
        }
        // It is of use in any case.
        pool.producers().acquire().await?.publish("cats").to("", "video").await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lent_while_no_broker_answers() -> Result<()> {
    let script = Arc::new(Script::default());
    let pool = pool(&script, |pool| pool.limit(1).wait(Duration::from_secs(4)))?;
    let idle = pool.acquire().await?.clone();
    script.kill("a");
    script.break_links();
    idle.wait_for_state(|state| matches!(state, ConnectionState::Connecting)).await;

    let asked = Instant::now();
    let error = pool.acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(asked.elapsed(), Duration::from_secs(4));
    assert!(error.to_string().contains("cannot borrow a connection"), "{error}");
    assert_eq!(pool.lent(), 0, "the place is free again");

    script.revive("a");
    let lent = pool.acquire().await?;
    assert!(matches!(lent.state(), ConnectionState::Connected(_)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_cannot_connect_says_why_and_is_tried_again() -> Result<()> {
    let script = Arc::new(Script::default());
    script.kill("a");
    let connection = builder("scripted://a", &script).retry(RetryPolicy::once()).build()?;
    let pool = connection.pool().build();
    for _ in 0..2 {
        let error = pool.try_acquire().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
        assert!(error.to_string().contains("connection refused"), "{error}");
    }
    script.revive("a");
    drop(pool.try_acquire().await?);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn one_that_was_idle_for_long_shows_that_it_lives_or_is_replaced() -> Result<()> {
    let script = Arc::new(Script::default());
    let pool = pool(&script, |pool| pool.check_after(MINUTE))?;
    let pings = |script: &Script| script.take_log().iter().filter(|line| *line == "ping").count();
    drop(pool.acquire().await?);
    drop(pool.acquire().await?);
    assert_eq!(pings(&script), 0, "it was lent a moment ago");

    tokio::time::advance(MINUTE).await;
    drop(pool.acquire().await?);
    assert_eq!((pings(&script), links(&script)), (1, 1));

    script.go_mute(true);
    tokio::time::advance(MINUTE).await;
    let lent = pool.acquire().await?;
    assert_eq!((pings(&script), links(&script)), (1, 2), "a new one is lent");
    assert!(matches!(lent.state(), ConnectionState::Connected(_)));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn producers_share_the_limit_and_keep_their_channels() -> Result<()> {
    let script = Arc::new(Script::default());
    let pool = pool(&script, |pool| pool.limit(1))?;
    let producers = pool.producers();
    for _ in 0..3 {
        let producer = producers.acquire().await?;
        producer.publish("cats").to("", "video").await?;
        assert_eq!(pool.try_acquire().await.unwrap_err().kind(), ErrorKind::LimitExceeded);
        assert_eq!(producers.try_acquire().await.unwrap_err().kind(), ErrorKind::LimitExceeded);
        let waited = producers.acquire_within(Duration::from_secs(1)).await;
        assert_eq!(waited.unwrap_err().kind(), ErrorKind::LimitExceeded);
    }
    let log = script.take_log();
    assert_eq!(log, ["connect a", "publish video", "publish video", "publish video"]);

    let mut made = script.links.subscribe();
    script.break_links();
    made.wait_for(|links| *links == 2).await.unwrap();
    producers.acquire().await?.publish("dogs").to("", "video").await?;
    assert_eq!(script.take_log(), ["connect a", "publish video"]);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_closed_pool_lends_nothing_and_keeps_nothing() -> Result<()> {
    let script = Arc::new(Script::default());
    let pool = pool(&script, |pool| pool.limit(2))?;
    let lent = pool.acquire().await?;
    drop(pool.acquire().await?);
    let full = pool.acquire().await?;
    let waiting = pool.acquire();
    let closing = async {
        drop(full);
        pool.close().await
    };
    // The waiting one may still get what came back; after that it is the end.
    let (waited, closed) = tokio::join!(waiting, closing);
    closed?;
    drop(waited);
    assert_eq!(pool.acquire().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(pool.try_acquire().await.unwrap_err().kind(), ErrorKind::Closed);
    pool.close().await?;

    let clone = lent.clone();
    assert!(matches!(lent.state(), ConnectionState::Connected(_)), "it is still lent");
    drop(lent);
    drop(clone);
    drop(pool);
    // The script is held by links until they end.
    while Arc::strong_count(&script) > 1 {
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_dropped_pool_ends_its_links() -> Result<()> {
    let script = Arc::new(Script::default());
    let pool = pool(&script, |pool| pool.limit(3))?;
    let lent = [pool.acquire().await?, pool.acquire().await?, pool.acquire().await?];
    drop(lent);
    drop(pool);
    while Arc::strong_count(&script) > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(*script.closed_links.borrow(), 3);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn each_url_has_a_pool_of_its_own() -> Result<()> {
    let script = Arc::new(Script::default());
    let transport = Scripted(Arc::clone(&script));
    let pools = Pools::new(move |urls| Connection::builder(urls).transport(transport.clone()))
        .configure(|pool| pool.limit(1));
    let a = pools.connections("scripted://a")?;
    let _lent = a.acquire().await?;
    let same = pools.clone().connections("scripted://a")?.try_acquire().await;
    assert_eq!(same.unwrap_err().kind(), ErrorKind::LimitExceeded);
    let same = pools.producers("scripted://a")?.try_acquire().await;
    assert_eq!(same.unwrap_err().kind(), ErrorKind::LimitExceeded);
    for other in ["scripted://b", "scripted://u:secret@a", "scripted://a/vhost"] {
        drop(pools.connections(other)?.try_acquire().await?);
    }
    assert!(!format!("{pools:?}").contains("secret"), "{pools:?}");
    assert_eq!(pools.connections("nowhere://a").unwrap_err().kind(), ErrorKind::InvalidUrl);

    pools.close().await?;
    assert_eq!(a.acquire().await.unwrap_err().kind(), ErrorKind::Closed);
    drop(pools.connections("scripted://a")?.acquire().await?);
    Ok(())
}
