//! What a broker can do, as promises.

/// Which end of the priority scale is served first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "complete")]
pub enum PriorityOrder {
    /// 9 before 0 (AMQP, MongoDB, ZooKeeper).
    #[default]
    HighFirst,
    /// 0 before 9 (Redis).
    LowFirst,
}

macro_rules! capabilities {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {
        /// What a broker can do. Each field is a promise: the conformance suite runs its cases
        /// when it is set, and checks for `Unsupported` when it is not.
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        #[non_exhaustive]
        pub struct Capabilities {
            $($(#[$doc])+ pub $name: bool,)+
            /// Which priorities are served first, where `priority` is set.
            pub priority_order: PriorityOrder,
            /// The largest message in bytes, envelope included, if there is a limit.
            pub max_message_bytes: Option<u64>,
        }

        impl Capabilities {
            /// The promises by name, in the order of the fields.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, bool)> {
                [$((stringify!($name), self.$name)),+].into_iter()
            }

            /// Whether the promise of that name is given; `None` for a name that is none.
            #[must_use]
            pub fn has(&self, name: &str) -> Option<bool> {
                self.iter().find(|(known, _)| *known == name).map(|(_, given)| given)
            }
        }
    };
}

capabilities! {
    /// Direct exchanges.
    direct,
    /// Topic exchanges, with AMQP's rule for `*` and `#`.
    topic,
    /// Fanout exchanges.
    fanout,
    /// Headers exchanges.
    headers,
    /// Bindings between exchanges.
    exchange_bindings,
    /// Exchanges and bindings live on the broker: a publisher need not know the queues that a
    /// consumer in another process bound.
    shared_bindings,
    /// Messages of one queue are served by priority.
    priority,
    /// Single messages expire.
    message_expiration,
    /// All messages of a queue expire (`x-message-ttl`).
    queue_message_ttl,
    /// An unused queue expires (`x-expires`).
    queue_expires,
    /// Persistent messages in durable queues survive a restart of the broker.
    persistence,
    /// A message fetched and not settled comes back when its consumer dies.
    at_least_once,
    /// A requeued message is the next to be delivered.
    requeue_to_head,
    /// Redelivered messages are marked.
    redelivered,
    /// The broker counts deliveries of a message, on the queues that it does so for.
    delivery_count,
    /// Publishing with `mandatory` tells when no queue took the message.
    mandatory,
    /// Queues of one connection, gone with it.
    exclusive_queues,
    /// Queues that go with their last consumer.
    auto_delete_queues,
    /// The broker counts a queue's consumers.
    consumer_count,
    /// A consumer ends with a notice when its queue is deleted.
    cancel_notify,
    /// Consumers with priorities (`x-priority`).
    consumer_priority,
    /// Rejected and expired messages go to a dead letter exchange (`x-dead-letter-exchange`).
    dead_letter,
    /// Bounded queues (`x-max-length`).
    max_length,
    /// Messages can be published for a later time; the broker keeps them until then.
    delayed_delivery,
    /// The link notices a broker that stops answering.
    heartbeats,
    /// The queues of `x-queue-type: quorum`.
    quorum_queues,
}
