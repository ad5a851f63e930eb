//! `kombu rpc`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use kombu::{Accept, Delivery, Error, ErrorKind, Publication, RpcClient, rpc};

use super::publish::body::{self, Body, Serializer};
use crate::arguments::{Broker, Subject, seconds};
use crate::end::{End, Outcome, Stop};
use crate::json_line::json_line;
use crate::pair::{Pair, pair};
use crate::session::Session;

/// Sends requests to a queue, and prints the replies in the order of the requests.
///
/// All requests are sent at once. Without BODY it reads one from standard input. A failure that the
/// other side answers with is one here.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Rpc {
    #[command(flatten)]
    broker: Broker,
    #[command(flatten)]
    subject: Subject,
    /// How bodies are written: json, text, raw, or another codec's name; see publish.
    #[arg(long, value_name = "NAME", default_value = "json")]
    serializer: String,
    /// Sets a header; VALUE is JSON when it parses, else text. May be given several times.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<Pair>,
    /// How long a request may take, from connecting to its reply; then it ends with exit code 3.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// Fails at once when the queue does not exist.
    #[arg(long)]
    mandatory: bool,
    /// The replies to read, by serializer or content type, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "json,text,raw")]
    accept: Vec<String>,
    /// What is written of a reply: body for the bytes of its body, json for all of it, as consume
    /// does.
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "body")]
    format: Format,
    /// The bodies, a request each; after "--" they may start with a hyphen.
    #[arg(value_name = "BODY", allow_negative_numbers = true)]
    bodies: Vec<String>,
}

#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
enum Format {
    Body,
    Json,
}

impl Rpc {
    pub(crate) async fn run(self, session: &mut Session) -> Outcome {
        let serializer = Serializer::new(&self.serializer)?;
        let bodies = self.read(session, &serializer).await?;
        let connection = self.broker.connect(session).await?;
        let client = connection
            .rpc_client()
            .timeout(self.timeout)
            .mandatory(self.mandatory)
            .accept(self.accept.iter().collect::<Accept>());
        let client = session.interrupt.unless(client.start()).await?;
        let outcome = self.call(session, &client, &serializer, &bodies).await;
        client.close().await?;
        connection.close().await?;
        outcome
    }

    async fn read(
        &self,
        session: &mut Session,
        serializer: &Serializer,
    ) -> Result<Vec<Body>, Stop> {
        if self.bodies.is_empty() {
            let body = body::read_whole(session).await?;
            return Ok(vec![serializer.check(body, "standard input")?]);
        }
        let check = |body: &String| serializer.check(body.clone().into_bytes(), "BODY");
        self.bodies.iter().map(check).collect()
    }

    /// Sends all requests, and prints the replies as far as they come in order.
    async fn call(
        &self,
        session: &mut Session,
        client: &RpcClient,
        serializer: &Serializer,
        bodies: &[Body],
    ) -> Outcome {
        let requests = bodies.iter().map(|body| {
            let publication = serializer.publication(client.producer(), body);
            client.request(self.complete(publication))
        });
        let mut replies: FuturesOrdered<_> = requests.collect();
        loop {
            let next = tokio::select! {
                biased;
                () = session.interrupt.wished() => return Err(Stop::Interrupted),
                next = replies.next() => next,
            };
            let reply = match next {
                None => return Ok(End::Done),
                Some(reply) => reply.and_then(|reply| match rpc::failure(&reply) {
                    Some(error) => Err(error),
                    None => Ok(reply),
                }),
            };
            match reply {
                Ok(reply) => self.write(session, &reply)?,
                Err(error) => {
                    let timed_out = error.kind() == ErrorKind::Timeout;
                    let error = error.during("call").with("queue", &self.subject.queue);
                    if !timed_out {
                        return Err(error.into());
                    }
                    session.say(&format!("kombu: {error}"));
                    return Ok(End::TimedOut);
                }
            }
        }
    }

    fn complete(&self, mut publication: Publication) -> Publication {
        for header in &self.headers {
            publication = publication.header(header.name.clone(), header.value.clone());
        }
        publication.to("", &self.subject.queue)
    }

    /// Writes a reply. One that cannot be read is a failure.
    fn write(&self, session: &mut Session, reply: &Delivery) -> Result<(), Stop> {
        let line = match self.format {
            Format::Json => json_line(reply)?,
            Format::Body => {
                let accepted = reply.decode::<kombu::Value>().map(drop);
                accepted.map_err(|error: Error| error.with("queue", reply.queue()))?;
                [&reply.body()?[..], b"\n"].concat()
            }
        };
        session.print(&line)
    }
}

const EXAMPLES: &str = "\
Examples:
  kombu rpc amqp://localhost// add '[1, 2]'
  kombu rpc amqp://localhost// add '[1, 2]' '[3, 4]' --timeout 1
  kombu rpc amqp://localhost// thumbnails --serializer raw < cat.png > small.png
  kombu rpc amqp://localhost// status --format json null | jq .headers";
