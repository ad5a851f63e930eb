//! Refuses what was not promised: see `Capabilities`.

use kombu_core::transport::{Capabilities, Publish};
use kombu_core::{Error, Exchange, ExchangeType, Queue, Result, Value};

/// Knows what a connection promises, and refuses the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refuse {
    pub(crate) transport: &'static str,
    pub(crate) promised: Capabilities,
}

impl Refuse {
    /// Checks an exchange's declaration.
    pub(crate) fn exchange(&self, exchange: &Exchange) -> Result<()> {
        let promised = &self.promised;
        match exchange.kind() {
            ExchangeType::Direct => self.unless(promised.direct, "direct"),
            ExchangeType::Fanout => self.unless(promised.fanout, "fanout"),
            ExchangeType::Headers => self.unless(promised.headers, "headers"),
            ExchangeType::Topic => self.unless(promised.topic, "topic"),
            other => {
                Err(Error::unsupported(self.transport, "exchange of that type").with("type", other))
            }
        }
    }

    /// Checks a queue's declaration.
    pub(crate) fn queue(&self, queue: &Queue) -> Result<()> {
        let promised = &self.promised;
        if queue.is_exclusive() {
            self.unless(promised.exclusive_queues, "exclusive_queues")?;
        } else if queue.is_auto_delete() {
            self.unless(promised.auto_delete_queues, "auto_delete_queues")?;
        }
        let arguments = queue.arguments();
        for (argument, promise, name) in [
            ("x-message-ttl", promised.queue_message_ttl, "queue_message_ttl"),
            ("x-expires", promised.queue_expires, "queue_expires"),
            ("x-max-length", promised.max_length, "max_length"),
            ("x-max-length-bytes", promised.max_length, "max_length"),
            ("x-dead-letter-exchange", promised.dead_letter, "dead_letter"),
            ("x-max-priority", promised.priority, "priority"),
        ] {
            if arguments.contains(argument) {
                self.unless(promise, name).map_err(|error| error.with("argument", argument))?;
            }
        }
        if arguments.get("x-queue-type").and_then(Value::as_str) == Some("quorum") {
            self.unless(promised.quorum_queues, "quorum_queues")?;
        }
        Ok(())
    }

    /// Checks a message. A priority is no demand: a broker without priorities ignores it, as AMQP
    /// brokers do for queues that have none.
    pub(crate) fn publish(&self, publish: &Publish) -> Result<()> {
        if publish.mandatory {
            self.unless(self.promised.mandatory, "mandatory")?;
        }
        if publish.message.properties.expiration.is_some() {
            self.unless(self.promised.message_expiration, "message_expiration")?;
        }
        if publish.due_later().is_some() {
            self.unless(self.promised.delayed_delivery, "delayed_delivery")?;
        }
        Ok(())
    }

    pub(crate) fn unless(&self, promised: bool, name: &'static str) -> Result<()> {
        if promised { Ok(()) } else { Err(Error::unsupported(self.transport, name)) }
    }
}
