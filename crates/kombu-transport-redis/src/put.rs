//! Stores messages: in lists, and in channels.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{join, join_all};
use kombu_core::{Error, Result};
use kombu_virtual::Put;
use kombu_virtual::envelope::{self, Stamp};

use crate::scripts::number;
use crate::store::{MOST_BYTES, RedisStore};

impl RedisStore {
    /// Stores messages, those for one list in one command.
    pub(crate) async fn put_all(&self, batch: &[Put]) -> Vec<Result<()>> {
        let core = &self.core;
        let mut answers: Vec<Result<()>> = batch.iter().map(|_| Ok(())).collect();
        let mut pushes: Vec<Push> = Vec::new();
        let mut publications = Vec::new();
        for (at, put) in batch.iter().enumerate() {
            let priority = put.publish.message.properties.priority;
            let encode = || {
                let tag = envelope::new_tag();
                let stamp = Stamp::new(&tag).body_encoding(core.options.layer.body_encoding);
                envelope::encode(&put.publish, &stamp).map(Bytes::from)
            };
            // Each copy has a tag of its own.
            for queue in &put.targets.queues {
                match encode() {
                    Ok(text) => {
                        let list = core.keys.list(queue, core.keys.step_of(priority));
                        Push::add(&mut pushes, list, queue, at, text);
                    }
                    Err(error) => answers[at] = Err(error),
                }
            }
            for exchange in &put.targets.exchanges {
                match encode() {
                    Ok(text) => {
                        let channel = core.keys.channel(exchange, &put.publish.routing_key);
                        publications.push((at, Bytes::from(channel), text));
                    }
                    Err(error) => answers[at] = Err(error),
                }
            }
        }
        let of: Vec<Vec<usize>> =
            pushes.iter_mut().map(|push| std::mem::take(&mut push.of)).collect();
        let pushing = join_all(pushes.into_iter().map(|push| async move {
            let expires = self.topology.expires(&push.queue);
            let list = push.list.clone();
            let arguments = std::iter::once(push.list).chain(push.values).collect();
            core.call("LPUSH", arguments).await?;
            if let Some(after) = expires {
                core.call("PEXPIRE", vec![list, number(after.as_millis())]).await?;
            }
            Ok(())
        }));
        let published: Vec<usize> = publications.iter().map(|(at, ..)| *at).collect();
        let publishing = join_all(
            publications.into_iter().map(|(_, channel, text)| core.link.publish(channel, text)),
        );
        let (pushed, told) = join(pushing, publishing).await;
        let pushed = of.into_iter().zip(pushed);
        let told =
            published.into_iter().map(|at| vec![at]).zip(told.into_iter().map(|one| one.map(drop)));
        for (places, result) in pushed.chain(told) {
            let Err(error) = result else { continue };
            for at in places {
                if let Some(answer) = answers.get_mut(at) {
                    *answer = Err(Error::duplicate(&error));
                }
            }
        }
        answers
    }
}

/// Messages for one list, sent in one command.
#[derive(Debug)]
struct Push {
    list: Bytes,
    queue: Arc<str>,
    values: Vec<Bytes>,
    bytes: usize,
    /// The places of the messages in their batch.
    of: Vec<usize>,
}

impl Push {
    fn add(pushes: &mut Vec<Self>, list: Bytes, queue: &Arc<str>, at: usize, text: Bytes) {
        let open = pushes
            .iter_mut()
            .rev()
            .find(|push| push.list == list)
            .filter(|push| push.bytes + text.len() <= MOST_BYTES);
        match open {
            Some(push) => {
                push.bytes += text.len();
                push.values.push(text);
                push.of.push(at);
            }
            None => pushes.push(Self {
                list,
                queue: Arc::clone(queue),
                bytes: text.len(),
                values: vec![text],
                of: vec![at],
            }),
        }
    }
}
