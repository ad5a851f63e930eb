//! In which order the brokers that stand in for each other are tried.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result, Scope};
use crate::suggest;
use crate::url::{BrokerUrl, BrokerUrls};

/// How the order of a round is chosen.
///
/// ```
/// use kombu_core::{BrokerUrl, FailoverStrategy};
/// let strategy: FailoverStrategy = "shuffle".parse()?;
/// let own = FailoverStrategy::custom(|urls: &[BrokerUrl], _round: u64| {
///     // Always the first, then the others from the end.
///     std::iter::once(0).chain((1..urls.len()).rev()).collect()
/// });
/// # Ok::<(), kombu_core::Error>(())
/// ```
///
/// # Kombu
///
/// `failover_strategy`. Kombu's `shuffle` picks anew at each step, so that one host may come twice
/// in a row and another never; here each round is a permutation.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum FailoverStrategy {
    /// An order of your own; see [`FailoverStrategy::custom`].
    Custom(Arc<dyn FailoverOrder>),
    /// In the order given, beginning with the one that worked last.
    #[default]
    RoundRobin,
    /// The one that worked last, then the others in random order.
    Shuffle,
}

impl FailoverStrategy {
    /// An order of your own, as a function or a [`FailoverOrder`].
    ///
    /// Every URL is tried once a round all the same: positions that do not exist or came before
    /// are left out, missing ones are added at the end.
    #[must_use]
    pub fn custom(order: impl FailoverOrder + 'static) -> Self {
        Self::Custom(Arc::new(order))
    }
}

impl fmt::Debug for FailoverStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Custom(_) => "Custom(..)",
            Self::RoundRobin => "RoundRobin",
            Self::Shuffle => "Shuffle",
        })
    }
}

/// Chooses the order of a round; functions of this shape do.
///
/// A closure needs the types of its arguments: `|urls: &[BrokerUrl], round: u64| …`.
pub trait FailoverOrder: Send + Sync {
    /// The positions of the URLs to try, in order. `round` counts from 0.
    fn order(&self, urls: &[BrokerUrl], round: u64) -> Vec<usize>;
}

impl<F: Fn(&[BrokerUrl], u64) -> Vec<usize> + Send + Sync> FailoverOrder for F {
    fn order(&self, urls: &[BrokerUrl], round: u64) -> Vec<usize> {
        self(urls, round)
    }
}

/// Parses Kombu's names, `round-robin` and `shuffle`.
impl FromStr for FailoverStrategy {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "round-robin" => Ok(Self::RoundRobin),
            "shuffle" => Ok(Self::Shuffle),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "{name:?} is not a failover strategy; write round-robin or shuffle{}",
                    suggest::did_you_mean(name, ["round-robin", "shuffle"])
                ),
            )),
        }
    }
}

/// The rounds over a list of URLs: each round tries every URL exactly once.
///
/// ```
/// use kombu_core::{BrokerUrls, FailoverCycle, FailoverStrategy};
/// let urls = BrokerUrls::parse("amqp://a;amqp://b;amqp://c")?;
/// let mut cycle = FailoverCycle::new(urls, FailoverStrategy::RoundRobin);
/// for url in cycle.next_round() {
///     if url.host() == Some("b") {
///         cycle.succeeded(&url);
///         break;
///     }
/// }
/// let hosts: Vec<_> = cycle.next_round().iter().map(|url| url.address()).collect();
/// assert_eq!(hosts, ["b", "c", "a"]);
/// # Ok::<(), kombu_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FailoverCycle {
    urls: BrokerUrls,
    strategy: FailoverStrategy,
    round: u64,
    last_good: Option<usize>,
}

impl FailoverCycle {
    /// A cycle that has not begun.
    #[must_use]
    pub fn new(urls: BrokerUrls, strategy: FailoverStrategy) -> Self {
        Self { urls, strategy, round: 0, last_good: None }
    }

    /// All URLs, in the order given.
    #[must_use]
    pub fn urls(&self) -> &BrokerUrls {
        &self.urls
    }

    /// Begins a round: every URL, once, in the order to try.
    #[must_use]
    pub fn next_round(&mut self) -> Vec<BrokerUrl> {
        let urls = self.urls.as_slice();
        let first = self.last_good.unwrap_or(0);
        let mut order: Vec<usize> = match &self.strategy {
            FailoverStrategy::Custom(order) => order.order(urls, self.round),
            FailoverStrategy::RoundRobin => (first..urls.len()).chain(0..first).collect(),
            FailoverStrategy::Shuffle => {
                let mut order: Vec<usize> = (0..urls.len()).collect();
                shuffle(&mut order);
                self.last_good.into_iter().chain(order).collect()
            }
        };
        order.extend(0..urls.len());
        let mut seen = vec![false; urls.len()];
        order.retain(|&index| index < seen.len() && !std::mem::replace(&mut seen[index], true));
        self.round += 1;
        order.into_iter().map(|index| urls[index].clone()).collect()
    }

    /// Remembers that a URL worked, so that the next round begins with it.
    pub fn succeeded(&mut self, url: &BrokerUrl) {
        self.last_good = self.urls.iter().position(|have| have == url);
    }
}

/// The one error for a round in which every URL failed.
///
/// It names each URL, masked, with its error. It can be recovered from if one of them can.
/// With one URL it is that URL's error.
#[must_use]
pub fn all_failed(mut failures: Vec<(BrokerUrl, Error)>) -> Error {
    if failures.len() == 1
        && let Some((url, error)) = failures.pop()
    {
        return error.with("url", url);
    }
    let recoverable = failures.iter().any(|(_, error)| error.is_recoverable());
    let kind = match failures.split_first() {
        Some(((_, first), rest)) if rest.iter().all(|(_, e)| e.kind() == first.kind()) => {
            first.kind()
        }
        _ => ErrorKind::ConnectionLost,
    };
    let each: Vec<String> = failures.iter().map(|(url, error)| format!("{url}: {error}")).collect();
    Error::new(kind, format!("all {} brokers failed: {}", failures.len(), each.join("; ")))
        .scoped(Scope::Connection)
        .recoverable(recoverable)
}

/// Fisher and Yates' shuffle. The hasher's random keys are enough to spread load.
fn shuffle(order: &mut [usize]) {
    for last in (1..order.len()).rev() {
        let random = RandomState::new().hash_one(last);
        let bound = last as u64 + 1;
        let other = usize::try_from(random % bound).unwrap_or(last);
        order.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn urls() -> BrokerUrls {
        BrokerUrls::parse("amqp://u:hunter2@a;amqp://b;amqp://c;amqp://d").unwrap()
    }

    fn round(cycle: &mut FailoverCycle) -> String {
        cycle.next_round().iter().map(BrokerUrl::address).collect()
    }

    fn url(cycle: &FailoverCycle, index: usize) -> BrokerUrl {
        cycle.urls().as_slice()[index].clone()
    }

    #[test]
    fn round_robin_begins_with_the_last_good_one() {
        let mut cycle = FailoverCycle::new(urls(), FailoverStrategy::RoundRobin);
        assert_eq!([round(&mut cycle), round(&mut cycle)], ["abcd", "abcd"]);
        cycle.succeeded(&url(&cycle, 2));
        assert_eq!([round(&mut cycle), round(&mut cycle)], ["cdab", "cdab"]);
        cycle.succeeded(&url(&cycle, 0));
        assert_eq!(round(&mut cycle), "abcd");
    }

    #[test]
    fn shuffle_tries_each_once_a_round_in_changing_order() {
        let mut cycle = FailoverCycle::new(urls(), FailoverStrategy::Shuffle);
        let rounds: Vec<String> = (0..200).map(|_| round(&mut cycle)).collect();
        for order in &rounds {
            assert_eq!(order.chars().collect::<HashSet<_>>().len(), 4, "{order}");
            assert_eq!(order.len(), 4);
        }
        for host in "abcd".chars() {
            assert!(rounds.iter().any(|order| order.starts_with(host)), "{host} never first");
        }
        cycle.succeeded(&url(&cycle, 3));
        for _ in 0..50 {
            let order = round(&mut cycle);
            assert!(order.starts_with('d') && order.len() == 4, "{order}");
        }
    }

    #[test]
    fn custom_orders_are_completed_and_cleaned() {
        let strategy = FailoverStrategy::custom(|urls: &[BrokerUrl], round: u64| match round {
            0 => (0..urls.len()).rev().collect(),
            1 => vec![2, 2, 99, usize::MAX],
            _ => Vec::new(),
        });
        let mut cycle = FailoverCycle::new(urls(), strategy);
        cycle.succeeded(&url(&cycle, 1));
        assert_eq!(
            [round(&mut cycle), round(&mut cycle), round(&mut cycle)],
            ["dcba", "cabd", "abcd"]
        );
    }

    #[test]
    fn names_are_kombus() {
        assert!(matches!("shuffle".parse(), Ok(FailoverStrategy::Shuffle)));
        assert!(matches!("round-robin".parse(), Ok(FailoverStrategy::RoundRobin)));
        let error = "round_robin".parse::<FailoverStrategy>().unwrap_err().to_string();
        assert!(error.contains("did you mean \"round-robin\"?"), "{error}");
    }

    #[test]
    fn the_error_of_a_failed_round_names_all_urls_without_secrets() {
        let cycle = FailoverCycle::new(urls(), FailoverStrategy::RoundRobin);
        let error = all_failed(vec![
            (url(&cycle, 0), Error::new(ErrorKind::AccessRefused, "bad password")),
            (url(&cycle, 1), Error::lost("port closed")),
        ]);
        let shown = format!("{error:?}");
        assert!(shown.contains("amqp://u:**@a: access refused: bad password"), "{shown}");
        assert!(shown.contains("amqp://b: connection lost: port closed"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(error.is_recoverable());
        assert_eq!((error.kind(), error.scope()), (ErrorKind::ConnectionLost, Scope::Connection));

        let refused = || Error::new(ErrorKind::AccessRefused, "bad password");
        let both = all_failed(vec![(url(&cycle, 0), refused()), (url(&cycle, 1), refused())]);
        assert!(!both.is_recoverable());
        assert_eq!(both.kind(), ErrorKind::AccessRefused);
        let one = all_failed(vec![(url(&cycle, 0), refused())]);
        assert_eq!(one.to_string(), "access refused: bad password (url=amqp://u:**@a)");
    }
}
