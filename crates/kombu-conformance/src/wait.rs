//! Waiting for what must happen, with a limit, and asking for what has happened.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use futures_util::FutureExt as _;
use kombu_core::{Channel, Connection, Consumer, Delivery};
use tokio::time::{Instant, sleep, timeout};

use crate::failure::Failure;

/// How long anything may take that is to happen at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// The pause between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits for a future that must end soon.
#[track_caller]
pub(crate) fn soon<F: Future>(
    what: &str,
    future: F,
) -> impl Future<Output = Result<F::Output, Failure>> {
    within(SOON, what, future)
}

/// Waits for a future that must end within a time.
#[track_caller]
pub(crate) fn within<F: Future>(
    limit: Duration,
    what: &str,
    future: F,
) -> impl Future<Output = Result<F::Output, Failure>> {
    let place = Location::caller();
    async move {
        timeout(limit, future).await.map_err(|_elapsed| late(what, limit, "it did not end", place))
    }
}

/// Waits for a condition, which must come true soon.
#[track_caller]
pub(crate) fn eventually<C>(what: &str, condition: C) -> impl Future<Output = Result<(), Failure>>
where
    C: AsyncFnMut() -> Result<bool, Failure>,
{
    eventually_within(SOON, PAUSE, what, condition)
}

/// Waits for a condition with a limit, looking at it again after each pause.
#[track_caller]
pub(crate) fn eventually_within<C>(
    limit: Duration,
    pause: Duration,
    what: &str,
    mut condition: C,
) -> impl Future<Output = Result<(), Failure>>
where
    C: AsyncFnMut() -> Result<bool, Failure>,
{
    let place = Location::caller();
    async move {
        let deadline = Instant::now() + limit;
        while !condition().await? {
            if Instant::now() + pause >= deadline {
                return Err(late(what, limit, "it did not happen", place));
            }
            sleep(pause).await;
        }
        Ok(())
    }
}

/// The next delivery, which must come soon.
#[track_caller]
pub(crate) fn next(
    consumer: &mut Consumer,
) -> impl Future<Output = Result<Delivery, Failure>> + use<'_> {
    next_within(SOON, consumer)
}

/// The next delivery, which must come within a time.
#[track_caller]
pub(crate) fn next_within(
    limit: Duration,
    consumer: &mut Consumer,
) -> impl Future<Output = Result<Delivery, Failure>> + use<'_> {
    let place = Location::caller();
    async move {
        match timeout(limit, consumer.next()).await {
            Ok(Some(Ok(delivery))) => Ok(delivery),
            Ok(Some(Err(error))) => {
                Err(Failure::at(&format!("the consumer failed: {error:?}"), place))
            }
            Ok(None) => Err(Failure::at("the consumer's stream ended", place)),
            Err(_elapsed) => Err(late("the next message", limit, "it did not come", place)),
        }
    }
}

/// Takes the next deliveries and holds them.
#[track_caller]
pub(crate) fn hold(
    consumer: &mut Consumer,
    count: usize,
) -> impl Future<Output = Result<Vec<Delivery>, Failure>> + use<'_> {
    let place = Location::caller();
    async move {
        let mut held: Vec<Delivery> = Vec::with_capacity(count);
        while held.len() < count {
            match timeout(SOON, consumer.next()).await {
                Ok(Some(delivery)) => held.push(delivery?),
                Ok(None) => return Err(Failure::at("the consumer's stream ended", place)),
                Err(_elapsed) => {
                    let ids: Vec<_> = held.iter().map(Delivery::decode::<u64>).collect();
                    let what = format!("{count} messages; {} came: {ids:?}", ids.len());
                    return Err(late(&what, SOON, "they did not come", place));
                }
            }
        }
        Ok(held)
    }
}

/// Takes the next deliveries, acknowledges them and returns their numbers.
#[track_caller]
pub(crate) fn ids(
    consumer: &mut Consumer,
    count: usize,
) -> impl Future<Output = Result<Vec<u64>, Failure>> + use<'_> {
    let place = Location::caller();
    async move {
        let mut numbers = Vec::with_capacity(count);
        while numbers.len() < count {
            match timeout(SOON, consumer.next()).await {
                Ok(Some(delivery)) => {
                    let delivery = delivery?;
                    numbers.push(delivery.decode()?);
                    delivery.ack().await?;
                }
                Ok(None) => return Err(Failure::at("the consumer's stream ended", place)),
                Err(_elapsed) => {
                    let what = format!("{count} messages; {} came: {numbers:?}", numbers.len());
                    return Err(late(&what, SOON, "they did not come", place));
                }
            }
        }
        Ok(numbers)
    }
}

/// Whether the consumer has nothing to hand out now.
pub(crate) fn is_waiting(consumer: &mut Consumer) -> bool {
    consumer.next().now_or_never().is_none()
}

/// Takes a message that must be there soon.
#[track_caller]
pub(crate) fn get<'a>(
    channel: &'a Channel,
    queue: &'a str,
) -> impl Future<Output = Result<Delivery, Failure>> + use<'a> {
    let place = Location::caller();
    async move {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(delivery) = channel.get(queue).await? {
                return Ok(delivery);
            }
            if Instant::now() >= deadline {
                return Err(late("a message to get", SOON, "it did not come", place));
            }
            sleep(PAUSE).await;
        }
    }
}

/// Takes and acknowledges messages that must be there soon, and returns their numbers.
pub(crate) async fn get_ids(
    channel: &Channel,
    queue: &str,
    count: usize,
) -> Result<Vec<u64>, Failure> {
    let mut numbers = Vec::with_capacity(count);
    while numbers.len() < count {
        let delivery = get(channel, queue).await?;
        numbers.push(delivery.decode()?);
        delivery.ack().await?;
    }
    Ok(numbers)
}

/// Waits until so many messages wait in a queue.
#[track_caller]
pub(crate) fn size_becomes<'a>(
    connection: &'a Connection,
    queue: &'a str,
    wanted: u64,
) -> impl Future<Output = Result<(), Failure>> + use<'a> {
    let place = Location::caller();
    async move {
        let deadline = Instant::now() + SOON;
        loop {
            let size = connection.size(queue).await?;
            if size == wanted {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let what = format!("a size of {wanted}, it is {size}");
                return Err(late(&what, SOON, "it did not come", place));
            }
            sleep(PAUSE).await;
        }
    }
}

fn late(what: &str, limit: Duration, how: &str, place: &Location<'_>) -> Failure {
    Failure::at(&format!("waited {limit:?} for {what}: {how}"), place)
}
