//! Rounds: every contender once, in a new order each time, so that what disturbs the machine
//! disturbs all alike.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::case::{Case, Contender, Kind, Measured};
use crate::flags::Plan;
use crate::sample::Sample;
use crate::stage::{self, Stage};
use crate::work::Work;

/// Measures cases one after the other.
pub(crate) async fn run(cases: Result<Vec<Case>>, plan: &Plan) -> Result<Vec<Measured>> {
    let mut order = Order::new();
    let mut measured = Vec::new();
    for mut case in cases? {
        if plan.only.as_ref().is_some_and(|part| !case.title.contains(part)) {
            continue;
        }
        if let Some(part) = &plan.contender {
            let exactly = case.contenders.iter().any(|contender| contender.name() == part);
            case.contenders.retain(|contender| match exactly {
                true => contender.name() == part,
                false => contender.name().contains(part.as_str()),
            });
        }
        let title = case.title.clone();
        measured.push(measure(case, plan, &mut order).await.context(title)?);
    }
    Ok(measured)
}

/// Measures one case.
async fn measure(case: Case, plan: &Plan, order: &mut Order) -> Result<Measured> {
    eprintln!("{}", case.title);
    let stage = match case.kind {
        Kind::InProcess => None,
        _ => Some(stage::open(&case.url).await?),
    };
    let mut counts = Vec::new();
    for contender in &case.contenders {
        let first = plan.first.min(case.most);
        let sample = one(&case, contender, first, stage.as_deref()).await?;
        let count = count_for(&sample, plan.run).clamp(plan.first.min(case.most), case.most);
        // Once more at that length: what was slow at first is warm now.
        let sample = one(&case, contender, count, stage.as_deref()).await?;
        counts.push(count_for(&sample, plan.run).clamp(plan.first.min(case.most), case.most));
    }
    let mut rows: Vec<(&'static str, Vec<Sample>)> =
        case.contenders.iter().map(|contender| (contender.name(), Vec::new())).collect();
    for _ in 0..plan.rounds {
        for index in order.shuffled(case.contenders.len()) {
            let sample =
                one(&case, &case.contenders[index], counts[index], stage.as_deref()).await?;
            rows[index].1.push(sample);
        }
    }
    if let Some(stage) = stage {
        stage.delete(&queue()).await?;
        stage.close().await?;
    }
    Ok(Measured { title: case.title, kind: case.kind, aim: case.aim, rows })
}

/// One run of one contender, with what comes before and after it.
async fn one(
    case: &Case,
    contender: &Arc<dyn Contender>,
    count: u64,
    stage: Option<&dyn Stage>,
) -> Result<Sample> {
    let work = Arc::new(Work {
        url: case.url.clone(),
        queue: queue(),
        body: case.body.clone(),
        count,
        prefetch: case.prefetch,
        window: case.window,
        broker: case.broker,
    });
    if let Some(stage) = stage {
        if let Kind::Among(waiting) = case.kind {
            stage.fill(&work.queue, &work.body.bytes, waiting + count).await?;
        } else {
            stage.fresh(&work.queue).await?;
        }
        if case.kind == Kind::Consume {
            stage.fill(&work.queue, &work.body.bytes, count).await?;
        }
    }
    let name = contender.name();
    let (runs, does) = (Arc::clone(contender), Arc::clone(&work));
    // In a task, so that it runs where tasks do and not on the thread that waits for it.
    let sample = tokio::spawn(async move { runs.run(&does).await })
        .await
        .context("it panicked")
        .flatten()
        .with_context(|| format!("{name}, {count} messages"))?;
    anyhow::ensure!(sample.messages == count, "{name} handled {} of {count}", sample.messages);
    if let Some(stage) = stage {
        let left = match case.kind {
            Kind::Among(waiting) => waiting,
            Kind::Publish => count,
            Kind::Consume | Kind::InProcess | Kind::Latency => 0,
        };
        stage.expect(&work.queue, left).await.with_context(|| format!("after {name}"))?;
    }
    Ok(sample)
}

/// The queue of all runs.
fn queue() -> String {
    format!("kombu-bench-{}", std::process::id())
}

/// How many messages take about that long.
fn count_for(sample: &Sample, run: Duration) -> u64 {
    let wall = sample.wall.as_nanos().max(1);
    u64::try_from(u128::from(sample.messages) * run.as_nanos() / wall).unwrap_or(u64::MAX)
}

/// Random orders (xorshift): good enough for not being the same each time.
#[derive(Debug)]
struct Order(u64);

impl Order {
    fn new() -> Self {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Self(u64::from(now.subsec_nanos()) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The numbers below `length` in some order.
    fn shuffled(&mut self, length: usize) -> Vec<usize> {
        let mut numbers: Vec<(u64, usize)> =
            (0..length).map(|index| (self.next(), index)).collect();
        numbers.sort_unstable();
        numbers.into_iter().map(|(_, index)| index).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_is_in_every_order() {
        let mut order = Order(7);
        let orders: Vec<_> = (0..20).map(|_| order.shuffled(5)).collect();
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
        assert!(orders.iter().any(|order| *order != orders[0]));
    }

    #[test]
    fn a_run_is_as_long_as_asked_for() {
        let sample = Sample { messages: 100, wall: Duration::from_millis(10), ..Sample::default() };
        assert_eq!(count_for(&sample, Duration::from_secs(1)), 10_000);
    }
}
