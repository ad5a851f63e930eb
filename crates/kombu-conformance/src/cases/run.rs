//! The callback form of consumers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kombu_core::{Error, ErrorKind};
use tokio::sync::{Barrier, Notify};

use crate::case::cases;
use crate::cases::ack::filled;
use crate::failure::Outcome;
use crate::stage::Stage;
use crate::wait::{self, size_becomes, soon};

cases! {
    handlers_run_concurrently_and_no_more_than_asked [];
    shutdown_gives_back_what_was_not_begun [];
    shutdown_waits_for_handlers [];
    handlers_beyond_their_grace_are_dropped ["at_least_once"];
    failed_handler_gives_its_message_up [];
    panicking_handler_gives_its_message_up [];
    settled_by_the_handler_stays_settled [];
}

async fn handlers_run_concurrently_and_no_more_than_asked(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 20).await?;
    let consumer = connection.consumer(&queue).start().await?;
    let (barrier, running, most, done) = (
        Arc::new(Barrier::new(4)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let stop = Arc::new(Notify::new());
    let shutdown = Arc::clone(&stop);
    let (seen, ended) = (Arc::clone(&most), Arc::clone(&done));
    let working = consumer.run(4, async move { shutdown.notified().await }, move |delivery| {
        let (barrier, running, seen, done, stop) = (
            Arc::clone(&barrier),
            Arc::clone(&running),
            Arc::clone(&seen),
            Arc::clone(&ended),
            Arc::clone(&stop),
        );
        async move {
            seen.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Nobody passes before four are here.
            barrier.wait().await;
            running.fetch_sub(1, Ordering::SeqCst);
            delivery.ack().await?;
            if done.fetch_add(1, Ordering::SeqCst) + 1 == 20 {
                stop.notify_one();
            }
            Ok(())
        }
    });
    soon("four handlers at a time", working).await??;
    assert_eq!(most.load(Ordering::SeqCst), 4);
    assert_eq!(done.load(Ordering::SeqCst), 20);
    assert_eq!(connection.size(queue.name()).await?, 0);
    Ok(connection.close().await?)
}

async fn shutdown_gives_back_what_was_not_begun(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 10).await?;
    let consumer = connection.consumer(&queue).start().await?;
    let (stop, begun) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (shutdown, count) = (Arc::clone(&stop), Arc::clone(&begun));
    let working = consumer.run(1, async move { shutdown.notified().await }, move |delivery| {
        let (stop, begun) = (Arc::clone(&stop), Arc::clone(&count));
        async move {
            begun.fetch_add(1, Ordering::SeqCst);
            stop.notify_one();
            delivery.ack().await
        }
    });
    soon("a shutdown", working).await??;
    let begun = begun.load(Ordering::SeqCst);
    assert!((1..=2).contains(&begun), "{begun} handlers were begun");
    let mut left = wait::get_ids(&connection.channel(), queue.name(), 10 - begun).await?;
    if !stage.can.requeue_to_head {
        left.sort_unstable();
    }
    assert_eq!(left, (begun as u64..10).collect::<Vec<_>>(), "all others come back in order");
    assert_eq!(connection.size(queue.name()).await?, 0);
    Ok(connection.close().await?)
}

async fn shutdown_waits_for_handlers(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 1).await?;
    let consumer = connection.consumer(&queue).start().await?;
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (is_begun, may_end) = (Arc::clone(&begun), Arc::clone(&go_on));
    let shutdown = async move { is_begun.notified().await };
    let working = consumer.run(1, shutdown, move |delivery| {
        let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
        async move {
            begun.notify_one();
            go_on.notified().await;
            delivery.ack().await
        }
    });
    let mut working = Box::pin(working);
    // The handler runs, and the consumer is gone: the next message stays where it is.
    let other = async {
        wait::eventually("the consumer to be cancelled", async || {
            Ok(!stage.can.consumer_count || connection.declare_queue(&queue).await?.consumers == 0)
        })
        .await?;
        may_end.notify_one();
        Ok::<_, crate::failure::Failure>(())
    };
    let (worked, waited) =
        soon("the handler's end", async { tokio::join!(&mut working, other) }).await?;
    waited?;
    worked?;
    assert_eq!(connection.size(queue.name()).await?, 0, "its message is settled");
    Ok(connection.close().await?)
}

async fn handlers_beyond_their_grace_are_dropped(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 1).await?;
    let grace = Duration::from_millis(100);
    let consumer = connection.consumer(&queue).grace(grace).start().await?;
    let begun = Arc::new(Notify::new());
    let is_begun = Arc::clone(&begun);
    let shutdown = async move { is_begun.notified().await };
    let working = consumer.run(1, shutdown, move |delivery| {
        let begun = Arc::clone(&begun);
        async move {
            begun.notify_one();
            std::future::pending::<()>().await;
            delivery.ack().await
        }
    });
    soon("the end of the grace", working).await??;
    size_becomes(&connection, queue.name(), 1).await?;
    assert_eq!(wait::get_ids(&connection.channel(), queue.name(), 1).await?, [0]);
    Ok(connection.close().await?)
}

/// Runs a handler on five messages; the first and the fourth go wrong.
async fn with_failures(stage: &Stage, fail: fn() -> kombu_core::Result<()>) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 5).await?;
    let consumer = connection.consumer(&queue).start().await?;
    let (stop, done) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (shutdown, good) = (Arc::clone(&stop), Arc::clone(&done));
    let working = consumer.run(1, async move { shutdown.notified().await }, move |delivery| {
        let (stop, good) = (Arc::clone(&stop), Arc::clone(&good));
        async move {
            let id: u64 = delivery.decode()?;
            if id == 4 {
                stop.notify_one();
            }
            if id.is_multiple_of(3) {
                return fail();
            }
            good.fetch_add(1, Ordering::SeqCst);
            delivery.ack().await
        }
    });
    soon("five handlers", working).await??;
    assert_eq!(done.load(Ordering::SeqCst), 3, "the others are handled");
    size_becomes(&connection, queue.name(), 0).await?;
    connection.close().await?;
    let connection = stage.connect().await?;
    connection.declare_queue(&queue).await?;
    assert_eq!(connection.size(queue.name()).await?, 0, "what went wrong is given up");
    Ok(connection.close().await?)
}

async fn failed_handler_gives_its_message_up(stage: &Stage) -> Outcome {
    with_failures(stage, || Err(Error::new(ErrorKind::Other, "the handler fails"))).await
}

async fn panicking_handler_gives_its_message_up(stage: &Stage) -> Outcome {
    with_failures(stage, || {
        // Unwinds without a word on the console.
        std::panic::resume_unwind(Box::new("the handler panics"))
    })
    .await
}

async fn settled_by_the_handler_stays_settled(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let queue = filled(stage, &connection, 1).await?;
    let consumer = connection.consumer(&queue).start().await?;
    let stop = Arc::new(Notify::new());
    let shutdown = Arc::clone(&stop);
    let working = consumer.run(1, async move { shutdown.notified().await }, move |delivery| {
        let stop = Arc::clone(&stop);
        async move {
            if delivery.delivery_count().is_some_and(|count| count > 5) {
                stop.notify_one();
                return delivery.ack().await;
            }
            stop.notify_one();
            delivery.requeue().await?;
            Err(Error::new(ErrorKind::Other, "after it gave the message back"))
        }
    });
    soon("the handler", working).await??;
    size_becomes(&connection, queue.name(), 1).await?;
    Ok(connection.close().await?)
}
