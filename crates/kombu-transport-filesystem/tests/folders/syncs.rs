//! What is brought to the disk, and when: as the system calls show it.

use std::env;
use std::fs;
use std::process::ExitCode;

use kombu_conformance::kit::{Impossible, Outcome, Result, fill, say};
use kombu_core::{DeliveryMode, Queue};
use tokio::process::Command;

use crate::ground::{Ground, builder, cases};

cases! {
    what_is_confirmed_was_brought_to_the_disk_before_it_was_seen [];
}

async fn what_is_confirmed_was_brought_to_the_disk_before_it_was_seen(ground: &Ground) -> Outcome {
    let calls = calls(ground, &ground.url()).await?;
    let is_folder_sync = |call: &str| call.starts_with("fsync") && call.contains("/data>");
    let moves: Vec<_> = calls.iter().enumerate().filter(|(_, call)| is_move(call)).collect();
    assert_eq!(moves.len(), 12, "{calls:?}");
    for (number, (at, call)) in moves.into_iter().enumerate() {
        let before = &calls[..at];
        let draft = call.split(".drafts/").nth(1).and_then(|rest| rest.split('"').next());
        let draft = draft.expect("a draft's name");
        let since = before.iter().rposition(|call| is_folder_sync(call)).unwrap_or(0);
        let synced = before.iter().any(|call| call.starts_with("fsync") && call.contains(draft))
            || before[since..].iter().any(|call| call.starts_with("syncfs"));
        let named = calls[at..].iter().any(|call| is_folder_sync(call));
        // The last one is transient.
        assert_eq!((synced, named), (number < 11, number < 11), "message {number}: {calls:?}");
    }
    assert!(calls.iter().any(|call| call.starts_with("syncfs")), "ten are synced one by one");
    let calls = self::calls(ground, &format!("{}&fsync=false", ground.url())).await?;
    assert!(calls.len() == 12 && calls.iter().all(|call| is_move(call)), "{calls:?}");
    Ok(())
}

/// Whether a call makes a message seen.
fn is_move(call: &str) -> bool {
    call.starts_with("rename") && call.contains("/.drafts/")
}

/// The system calls of a process that publishes a few messages, as far as they are about them.
async fn calls(ground: &Ground, url: &str) -> Result<Vec<String>> {
    let log = ground.root().join("calls");
    let traced = Command::new("strace")
        .args(["-f", "-y", "-e", "trace=fsync,syncfs,rename,renameat,renameat2", "-o"])
        .arg(&log)
        .arg(env::current_exe()?)
        .args([PUBLISH_A_FEW, url])
        .output()
        .await;
    let traced = match traced {
        Err(error) => return Err(Impossible::new(format!("strace: {error}")).into()),
        Ok(traced) => traced,
    };
    let errors = String::from_utf8_lossy(&traced.stderr);
    if errors.contains("ptrace") {
        return Err(Impossible::new(format!("strace is not allowed: {errors}")).into());
    }
    assert!(traced.status.success(), "{errors}");
    let log = fs::read_to_string(log)?;
    // `PID call(…`; a call that another thread interrupts has a second line.
    let calls = log.lines().filter(|line| !line.contains("resumed>"));
    let calls = calls.filter_map(|line| line.split_once(' ').map(|(_, call)| call.trim_start()));
    Ok(calls.filter(|call| call.contains('(')).map(str::to_owned).collect())
}

/// Publishes a few messages, if this process was started for it.
pub(crate) fn requested() -> Option<ExitCode> {
    let mut arguments = env::args().skip(1);
    arguments.next().filter(|word| word == PUBLISH_A_FEW)?;
    let url = arguments.next()?;
    let runtime = tokio::runtime::Runtime::new().ok()?;
    Some(match runtime.block_on(publish_a_few(&url)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("{error}"));
            ExitCode::FAILURE
        }
    })
}

/// Publishes one message, ten together, and one that is not to be kept.
async fn publish_a_few(url: &str) -> Outcome {
    let connection = builder(url).connect().await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, [0]).await?;
    fill(&connection, &queue, 1..11).await?;
    let producer = connection.producer().await?;
    producer.publish(&11).to_queue(&queue).delivery_mode(DeliveryMode::Transient).await?;
    Ok(connection.close().await?)
}

/// The word for a process that publishes a few messages and ends.
const PUBLISH_A_FEW: &str = "publish-a-few";
