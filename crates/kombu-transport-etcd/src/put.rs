//! Stores messages.

use std::sync::Arc;

use etcd_client::TxnOp;
use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::Put;
use kombu_virtual::envelope::{self, Stamp};
use uuid::Uuid;

use crate::layout::{LARGEST, OPERATIONS, check_name};
use crate::store::EtcdStore;

/// What is to be written for messages, up to the limits of a transaction.
#[derive(Default)]
struct Load {
    operations: Vec<TxnOp>,
    bytes: usize,
    /// The messages that are in it, by their numbers in the batch.
    messages: Vec<usize>,
    queues: Vec<Arc<str>>,
}

impl EtcdStore {
    /// Stores messages, in order: as many in one transaction as it takes.
    pub(crate) async fn put_all(&self, batch: Vec<Put>) -> Vec<Result<()>> {
        let mut answers: Vec<Result<()>> = batch.iter().map(|_| Ok(())).collect();
        let name = Uuid::new_v4().simple().to_string();
        let mut load = Load::default();
        let mut number = 0_u64;
        for (at, put) in batch.iter().enumerate() {
            let data = match self.pack(put) {
                Ok(data) => data,
                Err(refused) => {
                    set(&mut answers, at, refused);
                    continue;
                }
            };
            // One for several queues comes into all of them at once, if they fit.
            let operations = 2 * put.targets.queues.len();
            if load.is_full(operations, data.len() * put.targets.queues.len()) {
                self.send(&mut load, &mut answers).await;
            }
            for queue in &put.targets.queues {
                if load.is_full(2, data.len()) {
                    self.send(&mut load, &mut answers).await;
                }
                let rank = 9 - put.publish.message.properties.priority.min(9);
                let id = format!("{name}-{number:06}");
                number += 1;
                self.add(&mut load, queue, rank, &id, &data);
                load.messages.push(at);
            }
        }
        self.send(&mut load, &mut answers).await;
        answers
    }

    fn pack(&self, put: &Put) -> Result<String> {
        for queue in &put.targets.queues {
            check_name("a queue", queue)?;
        }
        let tag = envelope::new_tag();
        let stamp = Stamp::new(&tag).body_encoding(self.core.layer.body_encoding);
        let data = envelope::encode(&put.publish, &stamp)?;
        if data.len() > LARGEST {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!(
                    "the message has {} bytes with its envelope; etcd takes {LARGEST}",
                    data.len()
                ),
            ));
        }
        Ok(data)
    }

    fn add(&self, load: &mut Load, queue: &Arc<str>, rank: u8, id: &str, data: &str) {
        let keys = &self.core.keys;
        if !self.core.knows_queue(queue) && !load.queues.contains(queue) {
            load.operations.push(TxnOp::put(keys.queue(queue), "", None));
            load.queues.push(Arc::clone(queue));
        }
        load.bytes += data.len();
        load.operations.push(TxnOp::put(keys.body(queue, id), data, None));
        load.operations.push(TxnOp::put(
            keys.message(queue, rank, id),
            data.len().to_string(),
            None,
        ));
    }

    /// Sends what is loaded.
    async fn send(&self, load: &mut Load, answers: &mut [Result<()>]) {
        let load = std::mem::take(load);
        if load.operations.is_empty() {
            return;
        }
        match self.core.all(load.operations).await {
            Ok(_) => load.queues.iter().for_each(|queue| self.core.note_queue(queue, true)),
            Err(refused) => {
                for at in load.messages {
                    set(answers, at, refused.duplicate());
                }
            }
        }
    }
}

impl Load {
    /// Whether something has to be sent before so much more fits.
    fn is_full(&self, operations: usize, bytes: usize) -> bool {
        // Beside each message its queue may have to be declared.
        let declared = operations / 2;
        !self.operations.is_empty()
            && (self.operations.len() + operations + declared > OPERATIONS
                || self.bytes + bytes > LARGEST / 2)
    }
}

fn set(answers: &mut [Result<()>], at: usize, refused: Error) {
    if let Some(answer) = answers.get_mut(at) {
        *answer = Err(refused);
    }
}
