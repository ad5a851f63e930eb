//! What befalls a server while messages flow: nothing is lost, and consumers go on by themselves.

use kombu_conformance::kit::{Outcome, control, count, with_traffic};
use kombu_conformance::own_cases;

use crate::ground::{connect, queue};
use crate::here;

own_cases! {
    alone restarts_lose_nothing_that_was_confirmed [here::CONTROL];
    alone dropped_connections_lose_nothing [here::CONTROL];
}

/// In good order and by `kill -9`, in turn. The number of restarts is that of
/// `KOMBU_TEST_MONGODB_RESTARTS`, or 6.
async fn restarts_lose_nothing_that_was_confirmed() -> Outcome {
    let restarts = count("KOMBU_TEST_MONGODB_RESTARTS", 6)?;
    let (from, to) = (connect().await?, connect().await?);
    with_traffic(&from, &to, &queue("restarts"), async |traffic| {
        for restart in 0..restarts {
            let action = if restart % 2 == 0 { "restart" } else { "crash" };
            control(here::CONTROL, action).await?;
            traffic.flows(100).await;
        }
        Ok(())
    })
    .await
}

async fn dropped_connections_lose_nothing() -> Outcome {
    let (from, to) = (connect().await?, connect().await?);
    with_traffic(&from, &to, &queue("dropped"), async |traffic| {
        for _ in 0..10 {
            control(here::CONTROL, "drop-connections").await?;
            traffic.flows(50).await;
        }
        Ok(())
    })
    .await
}
