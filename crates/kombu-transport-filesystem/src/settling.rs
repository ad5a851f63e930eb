//! Settling claimed messages.

use std::fs;
use std::io;

use kombu_core::transport::Outcome;
use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::Settlement;

use crate::claims::Claims;
use crate::disk;
use crate::error;
use crate::folders::Folders;
use crate::inbox::{Inbox, Receipt};

/// Settles a message. Blocks.
pub(crate) fn settle(
    folders: &Folders,
    inbox: &Inbox,
    claims: &Claims,
    settlement: &Settlement<Receipt>,
) -> Result<()> {
    let held = &settlement.receipt;
    if held.aside {
        return Ok(());
    }
    let file = held.stem.file(&held.queue);
    let claimed = claims.path(&file);
    let (done, operation) = match settlement.outcome {
        Outcome::Requeue => {
            let stem = match settlement.delivered {
                true => held.stem.redelivered(),
                false => held.stem.clone(),
            };
            let back = folders.inbox.join(stem.file(&held.queue));
            let done = fs::rename(&claimed, back);
            if done.is_ok() {
                inbox.put_back(&held.queue, stem);
            }
            (done, "give back message")
        }
        _ => match &folders.processed {
            Some(processed) => {
                (disk::move_file(&claimed, &processed.join(file)), "keep processed message")
            }
            None => (fs::remove_file(&claimed), "remove message"),
        },
    };
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !claimed.exists() => {
            if claims.exist() {
                // Its queue was deleted, and it with the queue.
                return Ok(());
            }
            Err(Error::new(
                ErrorKind::StaleDelivery,
                "the message is not held any more: somebody has cleared the folder of claims",
            )
            .with("queue", &held.queue))
        }
        done => done.map_err(|error| error::io(error, operation, &claimed)),
    }
}
