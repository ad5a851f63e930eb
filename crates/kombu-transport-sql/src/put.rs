//! Storing messages.

use std::sync::Arc;

use kombu_core::{Error, ErrorKind, Properties, Result};
use kombu_virtual::envelope::{self, Stamp};
use kombu_virtual::{Put, expiry};

use crate::core::Core;
use crate::dialect::Dialect;
use crate::error::Class;
use crate::session::{Arg, Step};
use crate::topology::SqlTopology;

/// Stores a batch in one transaction, and answers for each.
pub(crate) async fn put(core: &Core, topology: &SqlTopology, batch: &[Put]) -> Vec<Result<()>> {
    let mut answers: Vec<Result<()>> = batch.iter().map(|_| Ok(())).collect();
    let mut copies = Vec::with_capacity(batch.len());
    for (put, answer) in batch.iter().zip(&mut answers) {
        match encode(core, topology, put).await {
            Ok(more) => copies.extend(more),
            Err(error) => *answer = Err(error),
        }
    }
    if let Err(error) = store(core, &copies).await {
        for answer in &mut answers {
            if answer.is_ok() {
                *answer = Err(error.duplicate());
            }
        }
    } else {
        for queue in queues(&copies) {
            core.shared.waiters.wake_queue(&queue);
        }
    }
    answers
}

/// A message for one queue.
#[derive(Debug)]
struct Copy {
    queue: Arc<str>,
    envelope: String,
    priority: i64,
    expires: Option<i64>,
}

async fn encode(core: &Core, topology: &SqlTopology, put: &Put) -> Result<Vec<Copy>> {
    let properties = &put.publish.message.properties;
    let mut copies = Vec::with_capacity(put.targets.queues.len());
    for queue in &put.targets.queues {
        let tag = envelope::new_tag();
        let stamp = Stamp::new(&tag).body_encoding(core.options.layer.body_encoding);
        let envelope = envelope::encode(&put.publish, &stamp)?;
        if let Some(longest) = core.longest
            && u64::try_from(envelope.len()).is_ok_and(|length| length > longest)
        {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                format!(
                    "a message of {} bytes is too long for the column payload, which takes \
                     {longest}; make the column LONGTEXT",
                    envelope.len()
                ),
            ));
        }
        copies.push(Copy {
            queue: Arc::clone(queue),
            envelope,
            priority: i64::from(properties.priority.min(envelope::MAX_PRIORITY)),
            expires: expires(core, topology, properties, queue).await?,
        });
    }
    Ok(copies)
}

/// When a message's time is over, by its own word and its queue's.
async fn expires(
    core: &Core,
    topology: &SqlTopology,
    properties: &Properties,
    queue: &str,
) -> Result<Option<i64>> {
    let of_queue =
        topology.queue_lately(queue).await?.and_then(|queue| expiry::of_queue_messages(&queue));
    let life = expiry::of_message(properties)?.into_iter().chain(of_queue).min();
    let life = life.map(|life| i64::try_from(life.as_millis()).unwrap_or(i64::MAX));
    Ok(life.map(|life| core.now().saturating_add(life)))
}

async fn store(core: &Core, copies: &[Copy]) -> Result<()> {
    if copies.is_empty() {
        return Ok(());
    }
    let mut again = true;
    loop {
        let steps = steps(core, copies).await?;
        match core.run(&core.lanes.write, &steps).await {
            Err(failure) if failure.class == Class::Reference && again => {
                // Somebody deleted the queue since its id was looked up.
                core.forget_queues();
                again = false;
            }
            done => return Ok(done.map(drop)?),
        }
    }
}

/// The statements that store copies in their order.
async fn steps(core: &Core, copies: &[Copy]) -> Result<Vec<Step>> {
    let statements = &core.statements;
    let mut steps = Vec::new();
    let mut plain: Vec<(i64, String)> = Vec::new();
    let mut bytes = 0;
    for copy in copies {
        let queue = core.make_queue(&copy.queue).await?;
        let message = (queue, copy.envelope.clone());
        let ranked = copy.priority > 0 || copy.expires.is_some();
        bytes += copy.envelope.len();
        if (ranked || bytes > MOST_BYTES) && !plain.is_empty() {
            steps.extend(statements.put(std::mem::take(&mut plain)));
            bytes = copy.envelope.len();
        }
        if ranked {
            steps.extend(statements.put(vec![message]));
            let expires = copy.expires.unwrap_or(i64::MAX);
            let args = vec![queue.into(), copy.priority.into(), expires.into()];
            steps.push(Step::new(&statements.rank, args));
        } else {
            plain.push(message);
        }
    }
    if !plain.is_empty() {
        steps.extend(statements.put(plain));
    }
    steps.extend(notice(core, &queues(copies)));
    Ok(steps)
}

fn queues(copies: &[Copy]) -> Vec<Arc<str>> {
    let mut queues: Vec<Arc<str>> = Vec::new();
    for copy in copies {
        if !queues.contains(&copy.queue) {
            queues.push(Arc::clone(&copy.queue));
        }
    }
    queues
}

/// Tells other processes of messages, where the database passes that on.
pub(crate) fn notice(core: &Core, queues: &[Arc<str>]) -> Option<Step> {
    if core.statements.dialect != Dialect::Postgres || queues.is_empty() {
        return None;
    }
    let names = queues.iter().map(|queue| (**queue).to_owned()).collect();
    Some(Step::new(&core.statements.notify, vec![Arg::Texts(names)]))
}

/// Tells other processes that any queue may have messages.
pub(crate) fn notice_all(core: &Core) -> Option<Step> {
    notice(core, &["".into()])
}

/// About how many bytes of messages one statement carries.
const MOST_BYTES: usize = 1 << 20;
