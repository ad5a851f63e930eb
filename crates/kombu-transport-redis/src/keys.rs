//! The names of keys and channels, as Kombu 5.7 has them (`kombu/transport/redis.py`).

use bytes::Bytes;

use crate::options::RedisOptions;

/// Makes names.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
    sep: String,
    steps: Vec<u8>,
    /// Whether all keys of a queue must share a slot.
    cluster: bool,
    unacked: String,
    unacked_index: String,
    unacked_mutex: String,
    /// What stands before an exchange in the name of its channel, the common prefix included.
    channel: String,
    fanout_patterns: bool,
}

/// A binding as it is stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Member {
    pub(crate) routing_key: String,
    pub(crate) pattern: String,
    pub(crate) queue: String,
}

impl Keys {
    pub(crate) fn new(options: &RedisOptions, database: u8, cluster: bool) -> Self {
        let prefix = options.global_keyprefix.clone();
        let fanout = match options.fanout_prefix.as_deref() {
            None => format!("/{database}."),
            Some(own) => own.to_owned(),
        };
        Self {
            channel: format!("{prefix}{fanout}"),
            prefix,
            sep: options.sep.clone(),
            steps: options.priority_steps.clone(),
            cluster,
            unacked: options.unacked_key.clone(),
            unacked_index: options.unacked_index_key.clone(),
            unacked_mutex: options.unacked_mutex_key.clone(),
            fanout_patterns: options.fanout_patterns,
        }
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.cluster
    }

    pub(crate) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// The place among the steps of a priority.
    pub(crate) fn step_of(&self, priority: u8) -> usize {
        self.steps.partition_point(|step| *step <= priority).saturating_sub(1)
    }

    /// The list of a queue for a step.
    pub(crate) fn list(&self, queue: &str, step: usize) -> Bytes {
        let base = self.base(queue);
        Bytes::from(match self.steps.get(step) {
            None | Some(0) => base,
            Some(step) => format!("{base}{}{step}", self.sep),
        })
    }

    /// All lists of a queue, the first to be served first.
    pub(crate) fn lists(&self, queue: &str) -> Vec<Bytes> {
        (0..self.steps.len()).map(|step| self.list(queue, step)).collect()
    }

    pub(crate) fn unacked(&self, queue: &str) -> Bytes {
        self.beside(queue, &self.unacked)
    }

    pub(crate) fn unacked_index(&self, queue: &str) -> Bytes {
        self.beside(queue, &self.unacked_index)
    }

    pub(crate) fn unacked_mutex(&self, queue: &str) -> Bytes {
        self.beside(queue, &self.unacked_mutex)
    }

    /// The log of a connection's claims.
    pub(crate) fn log(&self, queue: &str, name: &str) -> Bytes {
        self.beside(queue, &format!("_kombu.claim.{name}"))
    }

    /// Says, while it lives, that a queue which expires is there.
    pub(crate) fn mark(&self, queue: &str) -> Bytes {
        self.beside(
            queue,
            &if self.cluster { "_kombu.queue".to_owned() } else { format!("_kombu.queue.{queue}") },
        )
    }

    pub(crate) fn bindings(&self, exchange: &str) -> Bytes {
        Bytes::from(format!("{}_kombu.binding.{}", self.prefix, self.tagged(exchange)))
    }

    pub(crate) fn permanent(&self, exchange: &str) -> Bytes {
        Bytes::from(format!("{}_kombu.binding_permanent.{}", self.prefix, self.tagged(exchange)))
    }

    pub(crate) fn deadlines(&self, exchange: &str) -> Bytes {
        let tag = if self.cluster { format!(".{}", self.tagged(exchange)) } else { String::new() };
        Bytes::from(format!("{}_kombu.binding_deadlines{tag}", self.prefix))
    }

    /// Whether a key holds bindings.
    pub(crate) fn is_bindings(&self, key: &[u8]) -> bool {
        key.strip_prefix(self.prefix.as_bytes())
            .is_some_and(|rest| rest.starts_with(b"_kombu.binding."))
    }

    /// The channel that a message for a fanout exchange is published to.
    pub(crate) fn channel(&self, exchange: &str, routing_key: &str) -> String {
        if self.fanout_patterns && !routing_key.is_empty() {
            format!("{}{exchange}/{routing_key}", self.channel)
        } else {
            format!("{}{exchange}", self.channel)
        }
    }

    /// The pattern for an exchange's channels with a routing key.
    pub(crate) fn channel_pattern(&self, exchange: &str) -> Option<String> {
        if !self.fanout_patterns {
            return None;
        }
        let mut pattern = String::new();
        for letter in self.channel.chars().chain(exchange.chars()) {
            if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(letter);
        }
        pattern.push_str("/*");
        Some(pattern)
    }

    /// The exchange of a channel.
    pub(crate) fn exchange_of<'a>(&self, channel: &'a str) -> Option<&'a str> {
        let rest = channel.strip_prefix(self.channel.as_str())?;
        Some(rest.split_once('/').map_or(rest, |(exchange, _)| exchange))
    }

    pub(crate) fn member(&self, member: &Member) -> Bytes {
        let Member { routing_key, pattern, queue } = member;
        Bytes::from([routing_key.as_str(), pattern, queue].join(&self.sep))
    }

    /// Reads a stored binding; none for what is not one.
    pub(crate) fn read_member(&self, stored: &[u8]) -> Option<Member> {
        let text = std::str::from_utf8(stored).ok()?;
        let mut parts = text.split(self.sep.as_str());
        let member = Member {
            routing_key: parts.next()?.to_owned(),
            pattern: parts.next()?.to_owned(),
            queue: parts.next()?.to_owned(),
        };
        parts.next().is_none().then_some(member)
    }

    fn base(&self, queue: &str) -> String {
        format!("{}{}", self.prefix, self.tagged(queue))
    }

    /// A key of all queues, or on a cluster of one.
    fn beside(&self, queue: &str, name: &str) -> Bytes {
        Bytes::from(if self.cluster {
            format!("{}{}{name}", self.prefix, self.tagged(queue))
        } else {
            format!("{}{name}", self.prefix)
        })
    }

    /// On a cluster, the name in the braces that decide its slot.
    fn tagged(&self, name: &str) -> String {
        let has_tag = name
            .split_once('{')
            .and_then(|(_, rest)| rest.split_once('}'))
            .is_some_and(|(tag, _)| !tag.is_empty());
        if self.cluster && !has_tag { format!("{{{name}}}") } else { name.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(change: impl FnOnce(&mut RedisOptions)) -> Keys {
        let mut options = RedisOptions::default();
        change(&mut options);
        Keys::new(&options, 5, false)
    }

    #[test]
    fn lists_are_those_of_kombu() {
        let keys = keys(|_| {});
        assert_eq!(keys.lists("q"), ["q", "q\x06\x163", "q\x06\x166", "q\x06\x169"]);
        let steps: Vec<_> = (0..=10).map(|priority| keys.step_of(priority)).collect();
        assert_eq!(steps, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]);
    }

    #[test]
    fn every_key_has_the_prefix() {
        let keys = keys(|options| options.global_keyprefix = "p:".to_owned());
        assert_eq!(keys.list("q", 1), "p:q\x06\x163");
        assert_eq!(keys.unacked("q"), "p:unacked");
        assert_eq!(keys.bindings("e"), "p:_kombu.binding.e");
        assert_eq!(keys.channel("e", "k"), "p:/5.e/k");
        assert!(keys.is_bindings(b"p:_kombu.binding.e"));
        assert!(!keys.is_bindings(b"_kombu.binding.e"));
    }

    #[test]
    fn channels_are_those_of_kombu() {
        let keys5 = keys(|_| {});
        assert_eq!(keys5.channel("e", ""), "/5.e");
        assert_eq!(keys5.channel_pattern("e*").as_deref(), Some("/5.e\\*/*"));
        assert_eq!(keys5.exchange_of("/5.e/k/l"), Some("e"));
        assert_eq!(keys5.exchange_of("/4.e"), None);
        let bare = keys(|options| options.fanout_prefix = Some(String::new()));
        assert_eq!(bare.channel("e", "k"), "e/k");
        let plain = keys(|options| options.fanout_patterns = false);
        assert_eq!((plain.channel("e", "k").as_str(), plain.channel_pattern("e")), ("/5.e", None));
    }

    #[test]
    fn members_come_back() {
        let keys = keys(|_| {});
        let member =
            Member { routing_key: "dk".into(), pattern: String::new(), queue: "dq".into() };
        assert_eq!(keys.member(&member), "dk\x06\x16\x06\x16dq");
        assert_eq!(keys.read_member(b"dk\x06\x16\x06\x16dq"), Some(member));
        assert_eq!(keys.read_member(b"dk"), None);
    }

    #[test]
    fn on_a_cluster_all_keys_of_a_queue_share_a_tag() {
        let keys = Keys::new(&RedisOptions::default(), 0, true);
        assert_eq!(keys.list("q", 1), "{q}\x06\x163");
        assert_eq!(keys.unacked("q"), "{q}unacked");
        assert_eq!(keys.list("a{b}c", 0), "a{b}c");
        assert_eq!(keys.deadlines("e"), "_kombu.binding_deadlines.{e}");
    }
}
