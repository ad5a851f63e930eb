//! A leader that is killed.

use crate::ground::{builder, queue};
use crate::here;
use kombu_conformance::kit::{Outcome, control, variable, with_traffic};
use kombu_conformance::own_cases;

own_cases! {
    alone a_killed_leader_loses_nothing [here::CLUSTER[0], here::CLUSTER[1]];
}

/// Twice, with the one that was killed back in between.
async fn a_killed_leader_loses_nothing() -> Outcome {
    let url = variable(here::CLUSTER[0]).unwrap_or_default();
    let (from, to) = (builder(&url).connect().await?, builder(&url).connect().await?);
    with_traffic(&from, &to, &queue("leader"), async |traffic| {
        for _ in 0..2 {
            control(here::CLUSTER[1], "kill-leader").await?;
            traffic.flows(200).await;
            control(here::CLUSTER[1], "start").await?;
            traffic.flows(200).await;
        }
        Ok(())
    })
    .await
}
