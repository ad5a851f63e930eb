//! Queues for replies.

use std::time::Duration;

use crate::entity::Queue;
use crate::id::uuid;
use crate::transport::Capabilities;

/// A queue for the replies to one program, with a name of its own, that goes when nobody listens.
///
/// Where the broker has exclusive queues it is one: it ends with its connection, and RabbitMQ takes
/// it also where it refuses other transient queues. Elsewhere it is deleted with its consumer, or
/// after a while, as far as the broker can do that.
///
/// # Kombu
///
/// A queue that is made by hand for `collect_replies`, and the reply queues of `kombu.pidbox`, which
/// RabbitMQ refuses from 4.3 on unless they are exclusive.
#[must_use]
pub fn reply_queue(broker: &Capabilities) -> Queue {
    let queue = Queue::new(format!("reply.{}", uuid()));
    if broker.exclusive_queues {
        return queue.durable(false).exclusive(true);
    }
    let queue = queue.auto_delete(broker.auto_delete_queues);
    if broker.queue_expires { queue.expires(UNUSED) } else { queue }
}

/// How long a queue is kept that nobody listens to: longer than it takes to reconnect.
const UNUSED: Duration = Duration::from_secs(300);
