//! One connection's view of the queues.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use kombu_core::transport::{Outcome, ServerInfo};
use kombu_core::{Error, ErrorKind, ExchangeType, Message, Properties, Queue, Result};
use kombu_virtual::envelope::{self, Stamp};
use kombu_virtual::{
    Claim, Claimed, Interrupt, Put, Settlement, Store, StoreFeatures, Topology, Want,
};
use tokio::time::{Instant, sleep, sleep_until};

use crate::core::{Core, POLL};
use crate::estate::{self, Entry};
use crate::keys::Member;
use crate::ledger::{Held, Score};
use crate::record;
use crate::reply::Reply;
use crate::scripts::{CLAIM, FORGET, RENEW, number};
use crate::sweep;
use crate::topology::RedisTopology;

/// Names a claimed message.
#[derive(Clone, Debug)]
pub(crate) enum Receipt {
    /// A message of a fanout exchange, which only this process has.
    Fanout(Bytes),
    Recorded(Arc<Held>),
}

#[derive(Debug)]
pub(crate) struct RedisStore {
    core: Arc<Core>,
    topology: RedisTopology,
}

impl RedisStore {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { topology: RedisTopology::new(Arc::clone(&core)), core }
    }

    /// Looks once at all queues of a claim.
    async fn take(&self, wants: &[Want], watch: bool) -> Result<Vec<Claimed<Receipt>>> {
        let core = &self.core;
        let mut claimed = Vec::new();
        for want in wants {
            for message in core.fanout.take(&want.queue, want.limit) {
                let receipt = (!want.no_ack).then(|| Receipt::Fanout(message.clone()));
                claimed.push(read(&want.queue, receipt, message));
            }
        }
        let watch = watch && claimed.is_empty();
        let Some(first) = wants.first() else { return Ok(claimed) };
        let log = core.ledger.begin_claim(&first.queue, !core.keys.is_cluster());
        let taken = self.take_listed(wants, watch, core.log(&first.queue, log)).await;
        core.ledger.end_claim(log);
        claimed.extend(taken?);
        for want in wants {
            core.note_claimed(&want.queue);
            if let Some(after) = self.topology.used(&want.queue) {
                // A consumer may be slow to say that it is there.
                self.mark(&want.queue, after.max(GRACE)).await?;
                for list in core.keys.lists(&want.queue) {
                    core.call("PEXPIRE", vec![list, number(after.as_millis())]).await?;
                }
            }
        }
        Ok(claimed)
    }

    async fn take_listed(
        &self,
        wants: &[Want],
        watch: bool,
        log: Bytes,
    ) -> Result<Vec<Claimed<Receipt>>> {
        let core = &self.core;
        let Some(first) = wants.first() else { return Ok(Vec::new()) };
        let _taking = core.taking.read().await;
        let mut keys =
            vec![core.keys.unacked(&first.queue), core.keys.unacked_index(&first.queue), log];
        let seconds = core.options.visibility_timeout.as_secs().saturating_mul(2).max(60);
        let mut arguments = vec![
            number(core.keys.steps()),
            number(MOST_BYTES),
            number(u8::from(watch)),
            number(seconds),
            Bytes::from(envelope::new_tag()),
        ];
        for want in wants {
            keys.extend(core.keys.lists(&want.queue));
            let no_ack = number(u8::from(want.no_ack));
            arguments.extend([number(want.limit), no_ack, record::tail(&want.queue)]);
        }
        let mut found = core.run(CLAIM, &keys, arguments).await?.into_list()?.into_iter();
        let score = found.next().map(Reply::into_text).transpose()?;
        let score = score.and_then(|text| Score::parse(&text)).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, "the server's answer to a claim has no time")
        })?;
        let mut places = Vec::new();
        let mut entries = Vec::new();
        while let (Some(queue), Some(step), Some(tag), Some(message)) =
            (found.next(), found.next(), found.next(), found.next())
        {
            let Some(want) = usize::try_from(queue.into_int()?).ok().and_then(|at| wants.get(at))
            else {
                continue;
            };
            let message = message.into_bytes()?.unwrap_or_default();
            if !want.no_ack {
                let step = usize::try_from(step.into_int()?).unwrap_or(0);
                let tag = tag.into_bytes()?.unwrap_or_default();
                entries.push((Arc::clone(&want.queue), step, tag));
            }
            places.push((want, message));
        }
        let mut held = core.ledger.enter(score, entries).into_iter();
        let claimed = places.into_iter().map(|(want, message)| {
            let receipt = if want.no_ack { None } else { held.next().map(Receipt::Recorded) };
            read(&want.queue, receipt, message)
        });
        Ok(claimed.collect())
    }

    /// Says for a while that a queue which expires is there.
    async fn mark(&self, queue: &str, after: Duration) -> Result<()> {
        let life = number(after.as_millis());
        let mark = self.core.keys.mark(queue);
        let [one, px] = [Bytes::from_static(b"1"), Bytes::from_static(b"PX")];
        self.core.call("SET", vec![mark, one, px, life]).await.map(drop)
    }

    /// Groups recorded messages by the keys that their records are in.
    fn groups<'a>(
        &self,
        held: impl Iterator<Item = (usize, &'a Arc<Held>)>,
    ) -> BTreeMap<Arc<str>, Vec<(usize, Arc<Held>)>> {
        let mut groups: BTreeMap<Arc<str>, Vec<_>> = BTreeMap::new();
        for (at, held) in held {
            let group =
                if self.core.keys.is_cluster() { Arc::clone(&held.queue) } else { Arc::from("") };
            groups.entry(group).or_default().push((at, Arc::clone(held)));
        }
        groups
    }

    async fn forget(&self, queue: &str, held: &[(usize, Arc<Held>)]) -> Result<Vec<usize>> {
        let keys = [self.core.keys.unacked(queue), self.core.keys.unacked_index(queue)];
        let arguments = held.iter().flat_map(|(_, held)| [held.tag.clone(), number(held.score())]);
        let lost = self.core.run(FORGET, &keys, arguments).await?.into_list()?;
        let places = lost.into_iter().map(|place| Ok(usize::try_from(place.into_int()?).ok()));
        Ok(places.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    async fn settle_recorded(
        &self,
        batch: &[Settlement<Receipt>],
        answers: &mut [Result<()>],
        requeue: bool,
    ) {
        let recorded = batch.iter().enumerate().filter_map(|(at, settlement)| {
            let Receipt::Recorded(held) = &settlement.receipt else { return None };
            let back = settlement.outcome == Outcome::Requeue;
            (back == requeue && !held.is_gone()).then_some((at, held))
        });
        for (queue, mut group) in self.groups(recorded) {
            let done = if requeue {
                // Put to the head, the last comes first.
                group.sort_unstable_by_key(|(_, held)| std::cmp::Reverse(held.number));
                let entries = group.iter().map(|(at, held)| Entry {
                    tag: held.tag.clone(),
                    score: number(held.score()),
                    other_score: Bytes::new(),
                    number: Some(held.number),
                    marked: batch.get(*at).is_none_or(|settlement| settlement.delivered),
                    list: self.core.keys.list(&held.queue, held.step),
                });
                let moved = estate::give_back(&self.core, &queue, entries.collect()).await;
                for (_, held) in &group {
                    self.core.waiters.queue_changed(&held.queue);
                }
                moved.map(|_| Vec::new())
            } else {
                self.forget(&queue, &group).await
            };
            match done {
                Ok(lost) => {
                    self.core.ledger.strike(group.iter().map(|(_, held)| held));
                    for place in lost {
                        if let Some(answer) =
                            group.get(place).and_then(|(at, _)| answers.get_mut(*at))
                        {
                            *answer = Err(Error::new(
                                ErrorKind::StaleDelivery,
                                "the message was not renewed in time, and went back to its queue",
                            ));
                        }
                    }
                }
                Err(error) => {
                    for (at, _) in &group {
                        if let Some(answer) = answers.get_mut(*at) {
                            *answer = Err(error.duplicate());
                        }
                    }
                }
            }
        }
    }
}

#[async_trait]
impl Store for RedisStore {
    type Receipt = Receipt;

    fn transport(&self) -> &'static str {
        "redis"
    }

    fn features(&self) -> StoreFeatures {
        let mut features = StoreFeatures::default();
        features.lease = Some(self.core.options.visibility_timeout);
        features.maintenance = Some(self.core.options.look_interval());
        features.loop_per_queue = self.core.keys.is_cluster();
        features.native_exchanges = &[ExchangeType::Fanout];
        features
    }

    fn topology(&self) -> &dyn Topology {
        &self.topology
    }

    fn server(&self) -> ServerInfo {
        self.core.server.info.clone()
    }

    async fn create_queue(&self, queue: &Queue) -> Result<()> {
        // A queue without messages has no key. The default exchange's table, which Kombu neither
        // reads nor writes, says that it is there.
        if let Some(after) = self.topology.expires(queue.name()) {
            return self.mark(queue.name(), after).await;
        }
        let name = queue.name().to_owned();
        let own = Member { routing_key: name.clone(), pattern: String::new(), queue: name };
        let declared = vec![self.core.keys.bindings(""), self.core.keys.member(&own)];
        match self.core.call("SADD", declared).await {
            // A server that takes no writes for now need not be told again.
            Err(error) if error.kind() == ErrorKind::Blocked => {
                if self.queue_exists(queue.name()).await? { Ok(()) } else { Err(error) }
            }
            told => told.map(drop),
        }
    }

    async fn queue_exists(&self, queue: &str) -> Result<bool> {
        let keys = &self.core.keys;
        let own = Member {
            routing_key: queue.to_owned(),
            pattern: String::new(),
            queue: queue.to_owned(),
        };
        let declared = vec![keys.bindings(""), keys.member(&own)];
        if self.core.call("SISMEMBER", declared).await?.into_int()? > 0 {
            return Ok(true);
        }
        let mut all = keys.lists(queue);
        all.push(keys.mark(queue));
        Ok(self.core.call("EXISTS", all).await?.into_int()? > 0)
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64> {
        // What is unsettled goes with the queue, before anyone gives it back.
        let scores = self.core.scores.lock().await;
        let gone: Vec<_> = self.core.ledger.strike_queue(queue).into_iter().enumerate().collect();
        for part in gone.chunks(1000) {
            self.forget(queue, part).await?;
        }
        let waiting = self.purge(queue).await?;
        drop(scores);
        self.core.call("DEL", vec![self.core.keys.mark(queue)]).await?;
        self.topology.forget_queue(queue).await?;
        Ok(waiting)
    }

    async fn purge(&self, queue: &str) -> Result<u64> {
        let waiting = self.size(queue).await?;
        self.core.call("DEL", self.core.keys.lists(queue)).await?;
        self.core.fanout.clear(queue);
        Ok(waiting)
    }

    async fn size(&self, queue: &str) -> Result<u64> {
        // What is being taken is not to be missing here before it is there.
        drop(self.core.taking.write().await);
        let lists = self.core.keys.lists(queue);
        let counts = join_all(lists.into_iter().map(|list| self.core.call("LLEN", vec![list])));
        let mut waiting = self.core.fanout.len(queue);
        for count in counts.await {
            waiting += count?.into_count()?;
        }
        Ok(waiting)
    }

    async fn begin_consuming(&self, queue: &str) -> Result<()> {
        self.ping().await?;
        self.topology.consumers_changed(queue, true);
        Ok(())
    }

    async fn end_consuming(&self, queue: &str) {
        self.topology.consumers_changed(queue, false);
        if let Some(after) = self.topology.expires(queue) {
            let _gone_with_the_link = self.mark(queue, after).await;
        }
    }

    async fn put(&self, batch: Vec<Put>) -> Vec<Result<()>> {
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
        let (pushed, told) = futures_util::future::join(pushing, publishing).await;
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

    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed<Receipt>>> {
        let core = &self.core;
        if claim.wait.is_zero() {
            return self.take(claim.wants, false).await;
        }
        let deadline = Instant::now() + claim.wait;
        let queues: Vec<_> = claim.wants.iter().map(|want| Arc::clone(&want.queue)).collect();
        let lists = queues.iter().flat_map(|queue| core.keys.lists(queue)).collect();
        // Before the first look, so that no change is missed.
        let place = core.waiters.enter(lists, queues);
        loop {
            let claimed = self.take(claim.wants, core.tracked).await?;
            if !claimed.is_empty() {
                return Ok(claimed);
            }
            tokio::select! {
                biased;
                () = claim.interrupt.fired() => return Ok(claimed),
                () = sleep_until(deadline) => return Ok(claimed),
                () = place.changed() => {}
                () = sleep(POLL), if !core.tracked => {}
            }
        }
    }

    async fn settle(&self, batch: Vec<Settlement<Receipt>>) -> Vec<Result<()>> {
        let mut answers: Vec<Result<()>> = batch.iter().map(|_| Ok(())).collect();
        let scores = self.core.scores.lock().await;
        self.settle_recorded(&batch, &mut answers, false).await;
        self.settle_recorded(&batch, &mut answers, true).await;
        drop(scores);
        for settlement in batch.into_iter().rev() {
            if let (Receipt::Fanout(message), Outcome::Requeue) =
                (settlement.receipt, settlement.outcome)
            {
                let message =
                    if settlement.delivered { record::mark_redelivered(&message) } else { message };
                self.core.fanout.put_back(&settlement.queue, message);
                self.core.waiters.queue_changed(&settlement.queue);
            }
        }
        answers
    }

    async fn renew(&self, receipts: Vec<Receipt>) -> Result<()> {
        let scores = self.core.scores.lock().await;
        let recorded = receipts.iter().enumerate().filter_map(|(at, receipt)| match receipt {
            Receipt::Recorded(held) => Some((at, held)),
            Receipt::Fanout(_) => None,
        });
        for (queue, group) in self.groups(recorded) {
            let now = self.core.now();
            for (_, held) in &group {
                held.renewing(now);
            }
            let pairs = group.iter().flat_map(|(_, held)| [held.tag.clone(), number(held.score())]);
            let arguments = std::iter::once(number(now)).chain(pairs);
            let index = [self.core.keys.unacked_index(&queue)];
            let lost = self.core.run(RENEW, &index, arguments).await?.into_list()?;
            let mut gone = Vec::new();
            for place in lost {
                gone.push(place.into_int()?);
            }
            for (place, (_, held)) in group.iter().enumerate() {
                let kept = !i64::try_from(place).is_ok_and(|place| gone.contains(&place));
                held.renewed(kept);
            }
        }
        drop(scores);
        Ok(())
    }

    async fn maintain(&self, interrupt: &Interrupt) -> Result<()> {
        // Whatever the server did not tell, such as a flush of the database.
        self.core.changed();
        self.topology.renew_bindings().await?;
        if self.core.claimed().is_empty() {
            return Ok(());
        }
        sweep::sweep(&self.core, &self.topology, interrupt).await
    }

    async fn ping(&self) -> Result<()> {
        self.core.link.call(b"", "PING", Vec::new()).await.map(drop)
    }

    async fn lost(&self) -> Error {
        self.core.link.lost().await
    }

    async fn close(&self) -> Result<()> {
        self.core.close().await;
        Ok(())
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

/// Reads a message that was taken.
fn read(queue: &Arc<str>, receipt: Option<Receipt>, stored: Bytes) -> Claimed<Receipt> {
    match envelope::decode(&stored) {
        Ok(envelope) => {
            let mut claimed = Claimed::new(Arc::clone(queue), receipt, envelope.message);
            claimed.exchange = envelope.exchange;
            claimed.routing_key = envelope.routing_key;
            claimed.redelivered = envelope.redelivered;
            claimed
        }
        Err(error) => {
            let message = Message::new(stored, Properties::new());
            let mut claimed = Claimed::new(Arc::clone(queue), receipt, message);
            claimed.broken = Some(error.to_string());
            claimed
        }
    }
}

/// How long a queue that expires is there at least while it has a consumer.
const GRACE: Duration = Duration::from_secs(3);

/// The most bytes of messages that one command carries either way, beside a last one.
const MOST_BYTES: usize = 4 << 20;
