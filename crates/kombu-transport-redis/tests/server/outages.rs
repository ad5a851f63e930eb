//! What befalls a server, while messages flow: nothing is lost, and consumers go on by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kombu_conformance::kit::{
    Impossible, Outcome, SOON, control, count, fill, numbers, say, until, with_traffic,
};
use kombu_conformance::own_cases;
use kombu_core::{Connection, ConnectionState, ErrorKind, Queue, RetryPolicy};
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};

use crate::ground::{CONTROL, URL, builder, connect, prefix};
use crate::raw::Raw;

own_cases! {
    alone restarts_lose_nothing_that_was_confirmed ["KOMBU_TEST_REDIS_CONTROL"];
    alone a_server_may_be_frozen_for_longer_than_every_timeout ["KOMBU_TEST_REDIS_CONTROL"];
    alone a_server_that_becomes_a_replica_is_left [];
    alone a_server_that_loads_its_data_is_waited_for ["KOMBU_TEST_REDIS_CONTROL"];
    alone a_full_server_says_so_and_takes_messages_again [];
    beside no_publish_is_doubled_by_the_driver [];
}

/// A server that keeps what it confirmed through anything.
async fn careful() -> Result<Raw, Box<dyn std::error::Error + Send + Sync>> {
    let mut raw = Raw::connect(URL).await?;
    let kept = raw.ask(&["CONFIG", "GET", "appendonly"]).await?;
    assert_eq!(kept, ["appendonly", "yes"]);
    // Otherwise a server that is killed may lose what it wrote in the last second.
    raw.ask(&["CONFIG", "SET", "appendfsync", "always"]).await?;
    Ok(raw)
}

/// In good order and by `kill -9`, in turn. The number of restarts is that of
/// `KOMBU_TEST_REDIS_RESTARTS`, or 20.
async fn restarts_lose_nothing_that_was_confirmed() -> Outcome {
    let prefix = prefix("restarts");
    let restarts = count("KOMBU_TEST_REDIS_RESTARTS", 20)?;
    let (from, to) = (connect(&prefix, "").await?, connect(&prefix, "").await?);
    with_traffic(&from, &to, &Queue::new("q"), async |traffic| {
        for restart in 0..restarts {
            careful().await?;
            let action = if restart % 2 == 0 { "restart" } else { "crash" };
            control(CONTROL, action).await?;
            traffic.flows(100).await;
        }
        Ok(())
    })
    .await
}

async fn a_server_may_be_frozen_for_longer_than_every_timeout() -> Outcome {
    let prefix = prefix("frozen");
    // Pings, visibility, connecting, publishing: a second each.
    let quick = || {
        let second = Duration::from_secs(1);
        builder(&prefix, "&heartbeat=1&visibility_timeout=1")
            .connect_timeout(second)
            .publish_timeout(second)
    };
    let (from, to) = (quick().connect().await?, quick().connect().await?);
    with_traffic(&from, &to, &Queue::new("q"), async |traffic| {
        for _ in 0..2 {
            let (before, frozen) = (traffic.failed(), Instant::now());
            control(CONTROL, "pause").await?;
            until("publishes to fail", async || traffic.failed() >= before + 8).await;
            until("the consumer's link to be lost", async || is_down(&to)).await;
            sleep_until(frozen + Duration::from_secs(4)).await;
            control(CONTROL, "resume").await?;
            traffic.flows(100).await;
        }
        Ok(())
    })
    .await
}

async fn a_server_that_becomes_a_replica_is_left() -> Outcome {
    let prefix = prefix("replica");
    let (from, to) = (connect(&prefix, "").await?, connect(&prefix, "").await?);
    let mut raw = Raw::connect(URL).await?;
    with_traffic(&from, &to, &Queue::new("q"), async |traffic| {
        // Of a server that is not there: from now on it answers READONLY.
        raw.ask(&["REPLICAOF", "127.0.0.1", "1"]).await?;
        {
            until("both links to be left", async || is_down(&from) && is_down(&to)).await;
            let policy = RetryPolicy::once();
            let error = builder(&prefix, "")
                .retry(policy)
                .connect()
                .await
                .map(drop)
                .expect_err("no master");
            assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
            assert!(error.to_string().contains("replica"), "{error}");
        }
        raw.ask(&["REPLICAOF", "NO", "ONE"]).await?;
        traffic.flows(100).await;
        Ok(())
    })
    .await
}

async fn a_server_that_loads_its_data_is_waited_for() -> Outcome {
    let prefix = prefix("loading");
    let (from, to) = (connect(&prefix, "").await?, connect(&prefix, "").await?);
    let mut raw = Raw::connect(URL).await?;
    let many = "for i = 1, 2000 do redis.call('SET', KEYS[1] .. i, i, 'EX', 60) end";
    raw.ask(&["EVAL", many, "1", &prefix]).await?;
    rewrite(&mut raw).await?;
    if loads_slowly(&mut raw, true).await.is_err() {
        loads_slowly(&mut raw, false).await.unwrap_or(());
        let reason = "a server without a file for its configuration cannot be made slow";
        return Err(Impossible::new(reason.to_owned()).into());
    }
    with_traffic(&from, &to, &Queue::new("q"), async |traffic| {
        let restarting = control(CONTROL, "restart");
        let watching = async {
            loop {
                if let Ok(mut raw) = Raw::connect(URL).await
                    && let Err(error) = raw.ask(&["DBSIZE"]).await
                    && error.to_string().starts_with("LOADING")
                {
                    break;
                }
                sleep(Duration::from_millis(5)).await;
            }
            // It is seen by those who matter, too.
            let policy = RetryPolicy::once();
            builder(&prefix, "").retry(policy).connect().await.map(drop)
        };
        let (restarted, connected) = tokio::join!(restarting, timeout(SOON, watching));
        restarted?;
        loads_slowly(&mut Raw::connect(URL).await?, false).await?;
        let error = connected?.expect_err("it loads");
        assert!(error.to_string().contains("LOADING"), "{error}");
        traffic.flows(100).await;
        Ok(())
    })
    .await
}

/// Makes the server write its file anew, with what it holds now and no more.
async fn rewrite(raw: &mut Raw) -> Outcome {
    raw.ask(&["BGREWRITEAOF"]).await?;
    until("the file to be written", async || {
        let info = raw.ask(&["INFO", "persistence"]).await.unwrap_or_default().concat();
        info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
    })
    .await;
    Ok(())
}

/// Whether the server takes a millisecond for each key when it starts, and answers meanwhile.
async fn loads_slowly(raw: &mut Raw, slowly: bool) -> std::io::Result<()> {
    let (delay, interval) = if slowly { ("1000", "1024") } else { ("0", "2097152") };
    raw.ask(&["CONFIG", "SET", "key-load-delay", delay]).await?;
    raw.ask(&["CONFIG", "SET", "loading-process-events-interval-bytes", interval]).await?;
    raw.ask(&["CONFIG", "REWRITE"]).await.map(drop)
}

async fn a_full_server_says_so_and_takes_messages_again() -> Outcome {
    let prefix = prefix("full");
    let connection = connect(&prefix, "").await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, 0..10).await?;
    let producer = connection.producer().await?;
    let mut raw = Raw::connect(URL).await?;
    assert_eq!(
        raw.ask(&["CONFIG", "GET", "maxmemory-policy"]).await?,
        ["maxmemory-policy", "noeviction"]
    );
    raw.ask(&["CONFIG", "SET", "maxmemory", "1"]).await?;
    let second = Duration::from_secs(1);
    let refused = producer.publish(&10).to_queue(&queue).timeout(second).await;
    // Consumers go on, and make room.
    let mut consumer = connection.consumer(&queue).start().await?;
    let came = numbers(&mut consumer, 10).await;
    raw.ask(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    let error = refused.expect_err("it is full");
    assert_eq!(error.kind(), ErrorKind::Blocked, "{error}");
    assert!(error.is_recoverable() && error.to_string().contains("maxmemory"), "{error}");
    assert_eq!(came?, (0..10).collect::<Vec<_>>());
    producer.publish(&11).to_queue(&queue).await?;
    assert_eq!(numbers(&mut consumer, 1).await?, [11], "a refused message has not arrived");
    consumer.close().await?;
    connection.delete_queue("q").await?;
    Ok(connection.close().await?)
}

/// Publishes without retries of this crate, on a connection that the server closes again and again.
async fn no_publish_is_doubled_by_the_driver() -> Outcome {
    let prefix = prefix("doubled");
    let connection = connect(&prefix, "").await?;
    let queue = Queue::new("q");
    connection.declare_queue(&queue).await?;
    let (last, confirmed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let publish = || {
        let (connection, queue, stop) = (connection.clone(), queue.clone(), Arc::clone(&stop));
        let (last, confirmed) = (Arc::clone(&last), Arc::clone(&confirmed));
        async move {
            let producer = connection.producer().await?.retry(false);
            let mut fates = BTreeMap::new();
            while !stop.load(Ordering::Relaxed) {
                let number = last.fetch_add(1, Ordering::Relaxed);
                let published = producer.publish(&number).to_queue(&queue).await.is_ok();
                confirmed.fetch_add(u64::from(published), Ordering::Relaxed);
                fates.insert(number, published);
                if !published {
                    // While there is no link, this fails at once.
                    sleep(Duration::from_millis(1)).await;
                }
            }
            Ok::<_, kombu_core::Error>(fates)
        }
    };
    let publishers: Vec<_> = (0..8).map(|_| tokio::spawn(publish())).collect();
    let mut raw = Raw::connect(URL).await?;
    for _ in 0..CUTS {
        let before = confirmed.load(Ordering::Relaxed);
        until("publishes", async || confirmed.load(Ordering::Relaxed) > before + 20).await;
        for client in raw.clients(&prefix).await? {
            raw.ask(&["CLIENT", "KILL", "ID", &client]).await?;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut fates = BTreeMap::new();
    for publisher in publishers {
        fates.extend(publisher.await??);
    }
    let mut arrived: BTreeMap<u64, u32> = BTreeMap::new();
    let waiting = raw.count(&["LLEN", &format!("{prefix}q")]).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    for number in numbers(&mut consumer, usize::try_from(waiting)?).await? {
        *arrived.entry(number).or_default() += 1;
    }
    for (number, is_confirmed) in &fates {
        let times = arrived.get(number).copied().unwrap_or(0);
        assert!(times <= 1, "{number} arrived {times} times");
        assert!(times == 1 || !is_confirmed, "{number} was confirmed and is not there");
    }
    let uncertain = fates.values().filter(|is_confirmed| !**is_confirmed).count();
    assert!(uncertain >= CUTS / 2, "only {uncertain} publishes were under way in {CUTS} cuts");
    say(format_args!("{CUTS} cuts, {} publishes, {uncertain} failed", fates.len()));
    consumer.close().await?;
    connection.delete_queue("q").await?;
    Ok(connection.close().await?)
}

fn is_down(connection: &Connection) -> bool {
    !matches!(connection.state(), ConnectionState::Connected(_))
}

/// How often the server closes the connection of those who publish.
const CUTS: usize = 50;
