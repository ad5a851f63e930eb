//! A broker that goes away and comes back.

use std::time::Duration;

use kombu_core::{Connection, ErrorKind, Queue};

use super::traffic::Traffic;
use super::{BACK, until_down, until_up};
use crate::address;
use crate::case::cases;
use crate::cases::ack::filled;
use crate::control::Action;
use crate::failure::{Failure, Outcome};
use crate::stage::Stage;
use crate::wait::{self, next_within};

cases! {
    restart_is_survived ["control", "at_least_once", "persistence"];
    crash_is_survived ["control", "at_least_once", "persistence"];
    absence_is_survived ["control", "at_least_once", "persistence"];
    dropped_connections_are_made_again ["control", "at_least_once"];
    stopped_broker_in_a_running_server_is_survived ["control", "at_least_once", "persistence"];
    pause_longer_than_the_heartbeat_is_survived ["control", "heartbeats", "at_least_once"];
    short_pause_loses_nothing ["control", "at_least_once"];
    alarm_holds_publishes_back_and_lets_them_go ["control", "at_least_once"];
    confirmed_messages_survive_a_crash ["control", "persistence"];
    transient_entities_are_made_again ["control", "exclusive_queues", "fanout", "mandatory"];
    connecting_waits_for_a_broker_that_starts ["control", "persistence"];
}

/// Connections for publishing and consuming that notice a dead broker soon.
async fn pair(stage: &Stage) -> kombu_core::Result<(Connection, Connection)> {
    let url = if stage.can.heartbeats {
        address::with_option(stage.url(), "heartbeat=2")
    } else {
        stage.url().to_owned()
    };
    Ok((stage.builder_for(&url).connect().await?, stage.builder_for(&url).connect().await?))
}

/// Lets traffic flow while something happens to the broker, and checks that nothing is lost.
async fn with_traffic(stage: &Stage, events: impl AsyncFn(&Connection) -> Outcome) -> Outcome {
    let (from, to) = pair(stage).await?;
    let traffic = Traffic::start(stage, &from, &to, &stage.queue("work")).await?;
    for _ in 0..2 {
        traffic.flows(30).await?;
        events(&to).await?;
    }
    traffic.flows(30).await?;
    traffic.balance().await?;
    from.close().await?;
    Ok(to.close().await?)
}

async fn restart_is_survived(stage: &Stage) -> Outcome {
    with_traffic(stage, async |_| stage.control(Action::Restart).await).await
}

async fn crash_is_survived(stage: &Stage) -> Outcome {
    with_traffic(stage, async |_| stage.control(Action::Crash).await).await
}

async fn absence_is_survived(stage: &Stage) -> Outcome {
    with_traffic(stage, async |connection| {
        stage.control(Action::Kill).await?;
        until_down(connection).await?;
        stage.control(Action::Start).await?;
        until_up(connection).await
    })
    .await
}

async fn dropped_connections_are_made_again(stage: &Stage) -> Outcome {
    with_traffic(stage, async |_| stage.control(Action::DropConnections).await).await
}

async fn stopped_broker_in_a_running_server_is_survived(stage: &Stage) -> Outcome {
    with_traffic(stage, async |connection| {
        stage.control(Action::StopApp).await?;
        let down = until_down(connection).await;
        stage.control(Action::StartApp).await?;
        down?;
        until_up(connection).await
    })
    .await
}

async fn pause_longer_than_the_heartbeat_is_survived(stage: &Stage) -> Outcome {
    with_traffic(stage, async |connection| {
        stage.control(Action::Pause).await?;
        let down = until_down(connection).await;
        stage.control(Action::Resume).await?;
        down?;
        until_up(connection).await
    })
    .await
}

async fn short_pause_loses_nothing(stage: &Stage) -> Outcome {
    let probe = stage.connect().await?;
    with_traffic(stage, async |_| {
        stage.control(Action::Pause).await?;
        let ping = tokio::time::timeout(Duration::from_millis(300), probe.ping()).await;
        stage.control(Action::Resume).await?;
        assert!(ping.is_err(), "a paused broker answers: {ping:?}");
        Ok(())
    })
    .await?;
    Ok(probe.close().await?)
}

async fn alarm_holds_publishes_back_and_lets_them_go(stage: &Stage) -> Outcome {
    let (from, to) = pair(stage).await?;
    let queue = filled(stage, &from, 3).await?;
    let producer = from.producer().await?;
    stage.control(Action::SetAlarm).await?;
    let blocked = async {
        // The first publish makes the broker block the connection; none is confirmed.
        for id in 10..12_u64 {
            let publish =
                producer.publish(&id).to("", queue.name()).timeout(Duration::from_secs(2));
            let kinds = [ErrorKind::Blocked, ErrorKind::Timeout];
            let error = crate::failure::refused(publish.await, &kinds)?;
            assert!(error.is_recoverable(), "an alarm passes: {error:?}");
        }
        // Consumers go on meanwhile.
        let mut consumer = to.consumer(&queue).start().await?;
        assert_eq!(wait::ids(&mut consumer, 3).await?, [0, 1, 2]);
        Ok::<_, Failure>(consumer)
    };
    let blocked = blocked.await;
    stage.control(Action::ClearAlarm).await?;
    let mut consumer = blocked?;
    producer.publish(&20).to("", queue.name()).timeout(BACK).await?;
    loop {
        let delivery = next_within(BACK, &mut consumer).await?;
        let id: u64 = delivery.decode()?;
        delivery.ack().await?;
        match id {
            20 => break,
            // Those that were held back may have arrived after all.
            10 | 11 => {}
            other => return Err(Failure::new(format_args!("{other} came"))),
        }
    }
    consumer.close().await?;
    from.close().await?;
    Ok(to.close().await?)
}

async fn confirmed_messages_survive_a_crash(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 200).await?;
    stage.control(Action::Crash).await?;
    let mut consumer = connection.consumer(&queue).start().await?;
    let mut came = Vec::new();
    for _ in 0..200 {
        let next = next_within(BACK, &mut consumer).await;
        let delivery = next.map_err(|failure| failure.after(&format!("these came: {came:?}")))?;
        came.push(delivery.decode::<u64>()?);
        delivery.ack().await?;
    }
    assert_eq!(came, (0..200).collect::<Vec<_>>());
    consumer.close().await?;
    Ok(connection.close().await?)
}

async fn transient_entities_are_made_again(stage: &Stage) -> Outcome {
    let (from, to) = pair(stage).await?;
    let exchange = stage.fanout("news").durable(false);
    let queues = [
        stage.queue("shared").durable(false).bind(&exchange, ""),
        stage.queue("own").durable(false).exclusive(true).bind(&exchange, ""),
        Queue::new("").durable(false).exclusive(true).bind(&exchange, ""),
    ];
    let mut consumers = Vec::new();
    for queue in &queues {
        consumers.push(to.consumer(queue).start().await?);
    }
    from.declare_exchange(&exchange).await?;
    stage.control(Action::Restart).await?;
    let producer = from.producer().await?.mandatory(true).timeout(BACK);
    // Published again and again, until each queue has it: it is not to be known when it is bound.
    for (id, consumer) in consumers.iter_mut().enumerate() {
        let pause = Duration::from_millis(50);
        wait::eventually_within(BACK, pause, "a transient queue to be back", async || {
            match producer.publish(&id).to(exchange.name(), "").await {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Unroutable => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            match tokio::time::timeout(pause, consumer.next()).await {
                Ok(Some(delivery)) => delivery?.ack().await.map(|()| true).map_err(Failure::from),
                Ok(None) => Err(Failure::new("the consumer's stream ended")),
                Err(_elapsed) => Ok(false),
            }
        })
        .await?;
    }
    from.close().await?;
    Ok(to.close().await?)
}

async fn connecting_waits_for_a_broker_that_starts(stage: &Stage) -> Outcome {
    stage.control(Action::Kill).await?;
    let policy = kombu_core::RetryPolicy::connect().interval_start(Duration::from_millis(100));
    // The broker's whole start is part of it.
    let connection = stage.builder().retry(policy.deadline(BACK * 2)).build()?;
    let connecting = connection.connect();
    let starting = stage.control(Action::Start);
    let (connected, started) = tokio::join!(connecting, starting);
    started?;
    connected?;
    connection.declare_queue(&stage.queue("work")).await?;
    Ok(connection.close().await?)
}
