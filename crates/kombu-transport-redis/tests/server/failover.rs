//! A master behind sentinels that is killed.

use kombu_conformance::kit::{Outcome, SOON, control, fill, numbers, until, with_traffic};
use kombu_conformance::own_cases;
use kombu_core::Queue;
use tokio::time::Duration;

use crate::ground::{builder_for, prefix};
use crate::raw::Raw;

own_cases! {
    alone a_killed_master_is_replaced
        ["KOMBU_TEST_REDIS_SENTINEL_URL", "KOMBU_TEST_REDIS_SENTINEL_CONTROL"];
}

/// What is on its way to the replicas when the master dies is lost: Redis confirms before they
/// have it. Everything else arrives.
async fn a_killed_master_is_replaced() -> Outcome {
    let prefix = prefix("failover");
    let connect =
        || builder_for(SENTINELS, &prefix, "&heartbeat=1").connect_timeout(Duration::from_secs(1));
    let (from, to) = (connect().connect().await?, connect().connect().await?);
    let (before, after) = (Queue::new("before"), Queue::new("after"));
    fill(&from, &before, 0..500).await?;
    let old = master().await?;
    let mut raw = Raw::to("127.0.0.1", old).await?;
    let confirmed = offsets(&raw.ask(&["INFO", "replication"]).await?.concat())[0];
    until("the replicas to have it", async || {
        let answer = raw.ask(&["INFO", "replication"]).await.expect("the master answers");
        offsets(&answer.concat())[1..].iter().all(|replica| *replica >= confirmed)
    })
    .await;

    // Both made before, and used throughout.
    let mut consumer = to.consumer([&before, &after]).prefetch(50).start().await?;
    let producer = from.producer().await?;
    control(CONTROL, "kill-master").await?;
    // Within its deadline a publish waits for the new master.
    producer.publish(&1000).to_queue(&after).timeout(SOON * 2).await?;
    let mut came = std::collections::BTreeSet::new();
    while came.len() < 501 {
        came.extend(numbers(&mut consumer, 1).await?);
    }
    assert_eq!(came, (0..500).chain([1000]).collect());
    let new = master().await?;
    assert_ne!(old, new, "another server is the master");
    consumer.close().await?;
    from.delete_queue("before").await?;
    from.delete_queue("after").await?;

    // The old one comes back as a replica, and traffic stays with the new one.
    with_traffic(&from, &to, &Queue::new("q"), async |traffic| {
        control(CONTROL, "start").await?;
        until("the old master to be a replica", async || {
            let Ok(mut raw) = Raw::to("127.0.0.1", old).await else { return false };
            raw.ask(&["ROLE"]).await.is_ok_and(|role| role.concat().starts_with("slave"))
        })
        .await;
        traffic.flows(100).await;
        Ok(())
    })
    .await
}

/// The port of the server that the sentinels call the master.
async fn master() -> Result<u16, Box<dyn std::error::Error + Send + Sync>> {
    let mut sentinel = Raw::connect(SENTINELS).await?;
    let address = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]).await?;
    Ok(address.last().ok_or("no master")?.parse()?)
}

/// How much of what was written the master has, and each of its two replicas.
fn offsets(replication: &str) -> [u64; 3] {
    ["master_repl_offset:", "slave0:", "slave1:"].map(|name| {
        let field = replication.lines().find_map(|line| line.strip_prefix(name));
        let offset = field.and_then(|field| {
            field
                .split(',')
                .find_map(|part| part.strip_prefix("offset=").unwrap_or(part).parse().ok())
        });
        offset.unwrap_or(0)
    })
}

const SENTINELS: &str = "KOMBU_TEST_REDIS_SENTINEL_URL";
const CONTROL: &str = "KOMBU_TEST_REDIS_SENTINEL_CONTROL";
