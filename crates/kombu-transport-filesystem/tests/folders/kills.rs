//! Processes that are killed lose nothing.

use std::collections::BTreeMap;

use kombu_conformance::kit::process::{Process, Work};
use kombu_conformance::kit::{Outcome, count, fill, next, say, until};
use kombu_core::Queue;
use kombu_virtual::envelope::new_tag;
use tokio::time::{Duration, sleep, timeout};

use crate::ground::{Ground, cases, names};

cases! {
    a_killed_consumers_messages_come_back_in_order [];
    a_consumer_that_lives_keeps_what_it_holds [];
    claims_come_back_when_nobody_was_there_to_see_the_death [];
    kills_at_random_moments_lose_nothing [];
}

async fn a_killed_consumers_messages_come_back_in_order(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, 0..100).await?;
    let mut doomed = Process::start(&ground.url(), "q", HOLD)?;
    doomed.has_said(100).await?;
    assert_eq!(ground.messages(), Vec::<String>::new(), "it holds all of them");
    doomed.kill().await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    for expected in 0..100 {
        let delivery = next(&mut consumer).await?;
        assert_eq!(delivery.decode::<u64>()?, expected);
        assert!(delivery.is_redelivered());
        assert_eq!(delivery.delivery_count(), Some(1));
        delivery.ack_confirmed().await?;
    }
    assert_eq!(ground.beneath(".claimed"), Vec::<std::path::PathBuf>::new());
    Ok(connection.close().await?)
}

async fn a_consumer_that_lives_keeps_what_it_holds(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, 0..10).await?;
    let mut other = Process::start(&ground.url(), "q", HOLD)?;
    other.has_said(10).await?;
    // Others look for the dead each second.
    let mut consumer = connection.consumer(&queue).start().await?;
    let came = timeout(Duration::from_millis(2500), consumer.next()).await;
    assert!(came.is_err(), "a message that is held came to another consumer");
    assert_eq!(ground.beneath(".claimed").len(), 10);
    other.kill().await?;
    next(&mut consumer).await?;
    Ok(connection.close().await?)
}

async fn claims_come_back_when_nobody_was_there_to_see_the_death(ground: &Ground) -> Outcome {
    let queue = Queue::new("q");
    let connection = ground.connect().await?;
    fill(&connection, &queue, 0..5).await?;
    connection.close().await?;
    let mut doomed = Process::start(&ground.url(), "q", HOLD)?;
    doomed.has_said(5).await?;
    doomed.kill().await?;
    assert_eq!(ground.messages().len(), 0);
    let connection = ground.connect().await?;
    assert_eq!(connection.size("q").await?, 5, "they are back with the first connection");
    assert_eq!(names(&ground.data().join(".claimed")), Vec::<String>::new());
    Ok(connection.close().await?)
}

/// Three consumers and two publishers at a time; at random moments one of them is killed and
/// another one started. In the end one consumer gets what is left. The number of kills is that of
/// `KOMBU_TEST_FILESYSTEM_KILLS`, or 50.
async fn kills_at_random_moments_lose_nothing(ground: &Ground) -> Outcome {
    let kills = count("KOMBU_TEST_FILESYSTEM_KILLS", 50)?;
    let mut confirmed: Vec<u64> = Vec::new();
    let mut came: BTreeMap<u64, usize> = BTreeMap::new();
    let mut works: Vec<_> =
        (0..5_u64).map(|place| if place < 3 { CONSUME } else { publish(place) }).collect();
    let mut processes = Vec::new();
    for work in &works {
        processes.push(Process::start(&ground.url(), "q", *work)?);
    }
    let mut range = 5;
    for round in 0..kills {
        let random = new_tag();
        let moment = u64::from_str_radix(&random[..4], 16)? % 200;
        sleep(Duration::from_millis(moment)).await;
        let place = round % processes.len();
        if let Work::Publish { .. } = works[place] {
            works[place] = publish(range);
            range += 1;
        }
        let younger = Process::start(&ground.url(), "q", works[place])?;
        let older = std::mem::replace(&mut processes[place], younger);
        note(works[place], older.kill().await?, &mut confirmed, &mut came);
    }
    // Each of the last does something before its end.
    for (work, mut process) in works.into_iter().zip(processes).rev() {
        let said = process.has_said(1).await?;
        note(work, said.into_iter().collect(), &mut confirmed, &mut came);
        note(work, process.kill().await?, &mut confirmed, &mut came);
    }
    let connection = ground.connect().await?;
    let mut consumer = connection.consumer(Queue::new("q")).start().await?;
    let mut left = 0;
    while let Ok(delivery) = timeout(Duration::from_secs(4), next(&mut consumer)).await {
        let delivery = delivery?;
        *came.entry(delivery.decode()?).or_default() += 1;
        delivery.ack_confirmed().await?;
        left += 1;
    }
    consumer.close().await?;
    let missing: Vec<_> = confirmed.iter().filter(|id| !came.contains_key(id)).collect();
    assert!(missing.is_empty(), "{} of {} are lost: {missing:?}", missing.len(), confirmed.len());
    // What was stored and not confirmed may have come as well.
    let sums = |ids: &mut dyn Iterator<Item = u64>| ids.sum::<u64>();
    let of_confirmed: std::collections::BTreeSet<_> = confirmed.iter().copied().collect();
    assert_eq!(
        sums(&mut came.keys().copied().filter(|id| of_confirmed.contains(id))),
        sums(&mut confirmed.iter().copied())
    );
    let again = came.values().filter(|times| **times > 1).count();
    say(format_args!(
        "{kills} kills: {} messages confirmed, {} came, {again} more than once, {left} at the end",
        confirmed.len(),
        came.len()
    ));
    until("all files to be gone", async || ground.messages().is_empty()).await;
    assert_eq!(ground.beneath(".claimed"), Vec::<std::path::PathBuf>::new());
    assert_eq!(ground.beneath(".corrupt"), Vec::<std::path::PathBuf>::new(), "half a message");
    Ok(connection.close().await?)
}

fn note(work: Work, numbers: Vec<u64>, confirmed: &mut Vec<u64>, came: &mut BTreeMap<u64, usize>) {
    match work {
        Work::Publish { .. } => confirmed.extend(numbers),
        _ => numbers.into_iter().for_each(|number| *came.entry(number).or_default() += 1),
    }
}

/// A publisher that uses a range of numbers.
fn publish(range: u64) -> Work {
    Work::Publish { first: range * RANGE, count: RANGE, batch: 10 }
}

const CONSUME: Work = Work::Consume { prefetch: 20 };

const HOLD: Work = Work::Hold { prefetch: 1000 };

/// How many numbers a publisher may use.
const RANGE: u64 = 1_000_000;
