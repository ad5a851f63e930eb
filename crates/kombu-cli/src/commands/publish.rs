//! `kombu publish`.

mod body;

use std::future::IntoFuture as _;
use std::time::Duration;

use clap::{ArgGroup, Args};
use kombu::{Channel, Connection, ExchangeType, Producer, Publication};

use self::body::{Body, Serializer};
use crate::arguments::{Broker, name, seconds};
use crate::connect::{ensure_bound, ensure_exchange, ensure_queue};
use crate::end::{End, Outcome, Stop};
use crate::pair::{Pair, pair};
use crate::session::Session;
use crate::window::Window;

/// Publishes a message, or many, and waits until the broker has confirmed all of them.
///
/// Declares what it names and is not there. Without BODY it reads standard input.
#[derive(Args)]
#[command(group = ArgGroup::new("target").required(true), after_help = EXAMPLES)]
pub(crate) struct Publish {
    #[command(flatten)]
    broker: Broker,
    /// Publishes straight to this queue, through the default exchange.
    #[arg(long, group = "target", value_name = "QUEUE", value_parser = name)]
    queue: Option<String>,
    /// Publishes to this exchange.
    #[arg(long, group = "target", value_name = "EXCHANGE", value_parser = name)]
    exchange: Option<String>,
    /// The exchange's type, such as direct, topic, fanout or headers; without it, an exchange
    /// that exists is taken as it is, and a new one is direct.
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "queue")]
    kind: Option<String>,
    /// The routing key.
    #[arg(long, value_name = "KEY", default_value = "", conflicts_with = "queue")]
    routing_key: String,
    /// Binds this queue to the exchange with the routing key first; may be given several times.
    #[arg(long = "bind", value_name = "QUEUE", value_parser = name, conflicts_with = "queue")]
    binds: Vec<String>,
    /// How bodies are written: json, text, raw, msgpack, pickle or yaml.
    ///
    /// With json, BODY must be JSON, and is sent as it is; text must be UTF-8, raw is any bytes.
    /// The others write the value that the JSON in BODY stands for.
    #[arg(long, value_name = "NAME", default_value = "json")]
    serializer: String,
    /// Compresses bodies: brotli, bzip2, gzip, xz or zstd, or another name that Kombu has for one.
    #[arg(long, value_name = "NAME")]
    compression: Option<String>,
    /// Sets a header; VALUE is JSON when it parses, else text. May be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<Pair>,
    /// The priority, 0 to 255.
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    /// How long the message may wait in a queue.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    expires: Option<Duration>,
    /// Has the broker keep the message for so long before it is delivered.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    delay: Option<Duration>,
    /// Fails when no queue takes the message.
    #[arg(long)]
    mandatory: bool,
    /// Publishes every line of standard input as a message, while it is read.
    #[arg(long, conflicts_with = "body")]
    lines: bool,
    /// The body; after "--" it may start with a hyphen.
    #[arg(value_name = "BODY", allow_negative_numbers = true)]
    body: Option<String>,
}

impl Publish {
    pub(crate) async fn run(self, session: &mut Session) -> Outcome {
        let serializer = Serializer::new(&self.serializer)?;
        let whole = if self.lines { None } else { Some(self.whole_body(session).await?) };
        let first = whole.map(|bytes| serializer.check(bytes, self.source())).transpose()?;
        let connection = self.broker.connect(session).await?;
        session.interrupt.unless(self.declare(&connection.channel())).await?;
        let producer = session.interrupt.unless(self.producer(&connection)).await?;
        let (confirmed, outcome) = match first {
            None => self.publish_lines(session, &producer, &serializer).await,
            Some(body) => {
                let publication = self.publication(&producer, &serializer, &body);
                match session.interrupt.unless(publication.into_future()).await {
                    Ok(()) => (1, Ok(End::Done)),
                    Err(stop) => (0, Err(stop)),
                }
            }
        };
        let closed = connection.close().await;
        session.say(&format!("published {confirmed}"));
        let end = outcome?;
        closed?;
        Ok(end)
    }

    /// Where a body that is wrong came from.
    fn source(&self) -> &'static str {
        if self.body.is_some() { "BODY" } else { "standard input" }
    }

    async fn whole_body(&self, session: &mut Session) -> Result<Vec<u8>, Stop> {
        match &self.body {
            Some(body) => Ok(body.clone().into_bytes()),
            None => body::read_whole(session).await,
        }
    }

    async fn declare(&self, channel: &Channel) -> kombu::Result<()> {
        if let Some(queue) = &self.queue {
            ensure_queue(channel, queue).await?;
        }
        if let Some(exchange) = &self.exchange {
            let kind = self.kind.as_deref().map(ExchangeType::from);
            let exchange = ensure_exchange(channel, exchange, kind.as_ref()).await?;
            for queue in &self.binds {
                ensure_bound(channel, queue, &exchange, &self.routing_key).await?;
            }
        }
        Ok(())
    }

    async fn producer(&self, connection: &Connection) -> kombu::Result<Producer> {
        let mut producer = connection.producer().await?.mandatory(self.mandatory);
        if let Some(compression) = &self.compression {
            producer = producer.compression(compression);
        }
        Ok(match (&self.exchange, &self.queue) {
            (Some(exchange), _) => {
                producer.exchange(exchange.as_str()).routing_key(&self.routing_key)
            }
            (None, queue) => producer.routing_key(queue.as_deref().unwrap_or_default()),
        })
    }

    fn publication(
        &self,
        producer: &Producer,
        serializer: &Serializer,
        body: &Body,
    ) -> Publication {
        let mut publication = serializer.publication(producer, body);
        for header in &self.headers {
            publication = publication.header(header.name.clone(), header.value.clone());
        }
        if let Some(priority) = self.priority {
            publication = publication.priority(priority);
        }
        if let Some(expires) = self.expires {
            publication = publication.expires(expires);
        }
        if let Some(delay) = self.delay {
            publication = publication.delay(delay);
        }
        publication
    }

    /// Publishes lines while they come, a bounded number of them unconfirmed; says how many were
    /// confirmed, whatever happened.
    async fn publish_lines(
        &self,
        session: &mut Session,
        producer: &Producer,
        serializer: &Serializer,
    ) -> (u64, Outcome) {
        let mut lines = body::read_lines(session);
        let mut window = Window::new();
        let mut confirmed = 0;
        let mut outcome = Ok(End::Done);
        let mut number = 0;
        // What stops it stops the reading; what was sent by then is waited for.
        while outcome.is_ok() {
            tokio::select! {
                biased;
                () = session.interrupt.wished() => {
                    outcome = Ok(End::Interrupted);
                    break;
                }
                Some(fate) = window.next(), if !window.is_empty() => match fate {
                    Ok(()) => confirmed += 1,
                    Err(error) => outcome = Err(error.into()),
                },
                line = lines.recv(), if window.has_room() => {
                    number += 1;
                    let Some(line) = line else { break };
                    match serializer.line(line, number) {
                        Ok(Some(body)) => {
                            let publication = self.publication(producer, serializer, &body);
                            let again = self.publication(producer, serializer, &body);
                            let explain = move |error: kombu::Error| error.with("line", number);
                            window.push((), publication, again, explain).await;
                        }
                        Ok(None) => {}
                        Err(stop) => outcome = Err(stop),
                    }
                }
            }
        }
        while let Some(fate) = window.next().await {
            match fate {
                Ok(()) => confirmed += 1,
                Err(error) if outcome.is_ok() => outcome = Err(error.into()),
                Err(_) => {}
            }
        }
        (confirmed, outcome)
    }
}

const EXAMPLES: &str = r#"Examples:
  kombu publish amqp://localhost// --queue video '{"name": "cats"}'
  kombu publish amqp://localhost// --exchange media --type topic --routing-key video.hd \
      --bind videos --header trace=abc --priority 5 --expires 60 '{"name": "cats"}'
  echo hello | kombu publish amqp://localhost// --queue greetings --serializer text
  kombu publish amqp://localhost// --queue events --lines < events.ndjson"#;
