//! `kombu consume`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use kombu::{
    Accept, Acker, Channel, Connection, Consumer, Delivery, ExchangeType, Outcome as Fate, Queue,
};
use tokio::time::sleep;

use crate::arguments::{Broker, name, seconds};
use crate::connect::{ensure_bound, ensure_exchange, ensure_queue};
use crate::end::{End, Outcome, Stop};
use crate::json_line::json_line;
use crate::session::Session;
use crate::settler::{Settler, prefetch, settle};

/// Receives messages, and writes each to standard output before it settles it.
///
/// A message is one JSON object a line, with body, content_type, content_encoding, headers,
/// properties, exchange, routing_key, queue, redelivered and delivery_tag. A body that cannot be
/// read has error instead of body, and raw in base64. Dates, bytes and decimals are written as
/// Kombu's objects of __type__ and __value__.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Consume {
    #[command(flatten)]
    broker: Broker,
    /// The queue; declared if it is missing. May be given several times.
    #[arg(long = "queue", required = true, value_name = "QUEUE", value_parser = name)]
    queues: Vec<String>,
    /// Binds the queues to this exchange.
    #[arg(long, value_name = "EXCHANGE", value_parser = name)]
    exchange: Option<String>,
    /// The exchange's type, such as direct, topic, fanout or headers; without it, an exchange
    /// that exists is taken as it is, and a new one is direct.
    #[arg(long = "type", value_name = "TYPE", requires = "exchange")]
    kind: Option<String>,
    /// The routing key of the bindings.
    #[arg(long, value_name = "KEY", default_value = "", requires = "exchange")]
    routing_key: String,
    /// Ends after this many messages, and takes no more than that from one queue.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Ends this long after the start, whatever came by then, with exit code 3.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// The most unsettled messages of each queue, 0 for no limit [default: 100, with --requeue
    /// the count or no limit].
    #[arg(long, value_name = "N")]
    prefetch: Option<u16>,
    /// The bodies to read, by serializer (json, text, raw, msgpack, pickle, yaml) or content type,
    /// separated by commas. Of pickles only plain data is read, and nothing is run.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "json,text,raw")]
    accept: Vec<String>,
    #[command(flatten)]
    settling: Settling,
    /// What is written of a message: json for all of it, body for the bytes of its body.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "json")]
    format: Format,
}

/// What happens to messages that were written.
#[derive(Args)]
#[group(multiple = false)]
#[expect(clippy::struct_excessive_bools, reason = "flags of which at most one is set")]
struct Settling {
    /// Acknowledges messages: they are done with. This is the default.
    #[arg(long)]
    ack: bool,
    /// Has the broker forget messages when it sends them: the fastest, and what is on its way is
    /// lost with this process. With --count they are acknowledged, so that none is lost.
    #[arg(long)]
    no_ack: bool,
    /// Gives messages back at the end: a look at the queue.
    #[arg(long)]
    requeue: bool,
    /// Gives messages up: to the queue's dead letter exchange, if it has one.
    #[arg(long)]
    reject: bool,
}

impl Settling {
    fn fate(&self) -> Fate {
        if self.requeue {
            Fate::Requeue
        } else if self.reject {
            Fate::Reject
        } else {
            Fate::Ack
        }
    }
}

#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
enum Format {
    Json,
    Body,
}

impl Consume {
    pub(crate) async fn run(self, session: &mut Session) -> Outcome {
        let connection = self.broker.connect(session).await?;
        let started = self.start(&connection);
        let consumer = session.interrupt.unless(started).await?;
        let outcome = self.consume(session, consumer).await;
        let closed = connection.close().await;
        let end = outcome?;
        closed?;
        Ok(end)
    }

    async fn start(&self, connection: &Connection) -> kombu::Result<Consumer> {
        let queues = self.declare(&connection.channel()).await?;
        connection
            .consumer(queues)
            .prefetch(self.prefetch())
            .no_ack(self.is_no_ack())
            .accept(self.accept.iter().collect::<Accept>())
            .start()
            .await
    }

    async fn declare(&self, channel: &Channel) -> kombu::Result<Vec<Queue>> {
        let exchange = match &self.exchange {
            Some(exchange) => {
                let kind = self.kind.as_deref().map(ExchangeType::from);
                Some(ensure_exchange(channel, exchange, kind.as_ref()).await?)
            }
            None => None,
        };
        let mut queues = Vec::new();
        for queue in &self.queues {
            queues.push(match &exchange {
                Some(exchange) => ensure_bound(channel, queue, exchange, &self.routing_key).await?,
                None => ensure_queue(channel, queue).await?,
            });
        }
        Ok(queues)
    }

    /// A subscription without acknowledgements takes all there is: with a count it would lose
    /// what is more than that.
    fn is_no_ack(&self) -> bool {
        self.settling.no_ack && self.count.is_none()
    }

    fn prefetch(&self) -> u16 {
        match (self.settling.requeue, self.count) {
            // Held messages are unsettled: all that are asked for must fit.
            (true, Some(count)) => u16::try_from(count).unwrap_or(0),
            (true, None) => self.prefetch.unwrap_or(0),
            (false, count) => prefetch(self.prefetch.unwrap_or(100), count),
        }
    }

    async fn consume(&self, session: &mut Session, mut consumer: Consumer) -> Outcome {
        let mut settler = Settler::new(self.settling.fate(), self.count, self.prefetch());
        let mut unwritten = None;
        let mut outcome = self.receive(session, &mut consumer, &mut settler, &mut unwritten).await;
        consumer.cancel().await;
        if self.is_no_ack() && outcome.is_ok() {
            // What came until the end is settled, so it must come out.
            while let Some(Ok(delivery)) = consumer.next().await {
                if let Err(stop) = self.write(session, &delivery) {
                    outcome = Err(stop);
                    break;
                }
            }
        }
        let fate = self.settling.fate();
        if fate != Fate::Requeue {
            settler.release()?;
        }
        // From the last message to the first, so that the queue has its old order.
        let closed = consumer.close().await;
        if let Some(acker) = unwritten {
            settle(&acker, Fate::Requeue)?;
        }
        if fate == Fate::Requeue {
            settler.release()?;
        }
        let end = outcome?;
        closed?;
        Ok(end)
    }

    /// Receives until the count, the timeout, an interrupt or a failure.
    async fn receive(
        &self,
        session: &mut Session,
        consumer: &mut Consumer,
        settler: &mut Settler,
        unwritten: &mut Option<Acker>,
    ) -> Outcome {
        let timeout = async {
            match self.timeout {
                Some(timeout) => sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let mut timeout = std::pin::pin!(timeout);
        let mut written = 0;
        while self.count.is_none_or(|count| written < count) {
            let next = tokio::select! {
                biased;
                () = session.interrupt.wished() => return Ok(End::Interrupted),
                () = &mut timeout => return Ok(End::TimedOut),
                next = consumer.next() => next,
            };
            let Some(delivery) = next else {
                return Err(Stop::said("the connection was closed"));
            };
            let delivery = delivery?;
            if let Err(stop) = self.write(session, &delivery) {
                *unwritten = Some(delivery.acker());
                return Err(stop);
            }
            written += 1;
            settler.settle(delivery.acker())?;
        }
        Ok(End::Done)
    }

    /// Writes a message.
    fn write(&self, session: &mut Session, delivery: &Delivery) -> Result<(), Stop> {
        let line = match self.format {
            Format::Json => json_line(delivery)?,
            Format::Body => {
                let body = delivery.body().unwrap_or_else(|error| {
                    session.say(&format!("kombu: {error}; the body is written as it came"));
                    delivery.message().body.clone()
                });
                [&body[..], b"\n"].concat()
            }
        };
        session.print(&line)
    }
}

const EXAMPLES: &str = "\
Examples:
  kombu consume amqp://localhost// --queue video
  kombu consume amqp://localhost// --queue video --count 10 --timeout 5 | jq .body
  kombu consume amqp://localhost// --queue video --requeue --timeout 1
  kombu consume amqp://localhost// --queue all --exchange media --type topic --routing-key '#'
  kombu consume amqp://localhost// --queue log --format body --no-ack >> log.txt";
