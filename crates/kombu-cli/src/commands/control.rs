//! `kombu control`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use kombu::codec::json;
use kombu::mailbox::{Call, Cast, Mailbox, Matcher, Reply};
use kombu::{Connection, Table, Value};
use serde::Serialize;

use crate::arguments::{Broker, name, seconds};
use crate::end::{End, Outcome, Stop};
use crate::pair::{Pair, pair};
use crate::session::Session;

/// Calls a method of the nodes of a mailbox, such as Celery's workers, and prints their replies.
///
/// Each reply is an object {"node": …, "reply": …} on a line of its own. The method `nodes` asks
/// for a `ping`, and prints the names of those that answer. Who has not answered in time is not
/// there: that is exit code 3, if nobody answered or a node that was named did not.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Control {
    #[command(flatten)]
    broker: Broker,
    /// The method, such as ping; or nodes.
    #[arg(value_name = "METHOD", value_parser = name)]
    method: String,
    /// The namespace of the nodes.
    #[arg(long, value_name = "NAME", default_value = "celery", value_parser = name)]
    namespace: String,
    /// The type of the namespace's exchange: Celery's is fanout.
    #[arg(long = "type", value_name = "TYPE", default_value = "fanout")]
    kind: Kind,
    /// Asks this node only; may be given several times.
    #[arg(long = "node", value_name = "NODE", value_parser = name, conflicts_with = "pattern")]
    nodes: Vec<String>,
    /// Asks nodes whose name matches, such as 'worker*'.
    #[arg(long, value_name = "GLOB")]
    pattern: Option<String>,
    /// An argument of the method; VALUE is JSON when it parses, else text. May be given several
    /// times.
    #[arg(long = "argument", value_name = "NAME=VALUE", value_parser = pair)]
    arguments: Vec<Pair>,
    /// How long to wait for replies in all.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    timeout: Duration,
    /// Ends after so many replies.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Waits for no replies.
    #[arg(long, conflicts_with = "limit")]
    no_reply: bool,
}

/// The types of exchanges that a mailbox may have.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Direct,
    Fanout,
}

impl Control {
    pub(crate) async fn run(self, session: &mut Session) -> Outcome {
        let connection = self.broker.connect(session).await?;
        let outcome = self.ask(session, &connection).await;
        let closed = connection.close().await;
        let end = outcome?;
        closed?;
        Ok(end)
    }

    async fn ask(&self, session: &mut Session, connection: &Connection) -> Outcome {
        let mailbox = Mailbox::new(connection, &self.namespace);
        let mailbox = match self.kind {
            Kind::Direct => mailbox,
            Kind::Fanout => mailbox.fanout(),
        };
        let only_names = self.method == "nodes";
        let method = if only_names { "ping" } else { &self.method };
        if self.no_reply {
            session.interrupt.unless(IntoFuture::into_future(self.cast(&mailbox, method))).await?;
            return Ok(End::Done);
        }
        let call = self.call(&mailbox, method);
        let mut replies = session.interrupt.unless(call.send()).await?;
        let mut answered = 0;
        let ended = loop {
            let reply = tokio::select! {
                biased;
                () = session.interrupt.wished() => break Ok(End::Interrupted),
                reply = replies.next() => match reply {
                    None => break Ok(End::TimedOut),
                    Some(reply) => reply?,
                },
            };
            answered += 1;
            if let Err(stop) = print(session, reply, only_names) {
                break Err(stop);
            }
        };
        replies.close().await;
        let wanted = self.limit.unwrap_or(self.nodes.len()).max(1);
        Ok(match ended? {
            End::TimedOut if answered >= wanted => End::Done,
            end => end,
        })
    }

    fn table(&self) -> Table {
        self.arguments.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect()
    }

    fn call(&self, mailbox: &Mailbox, method: &str) -> Call {
        let mut call = if self.nodes.is_empty() {
            mailbox.multi_call(method)
        } else {
            mailbox.call(&self.nodes, method)
        };
        if let Some(pattern) = &self.pattern {
            call = call.matching(pattern, Matcher::Glob);
        }
        if let Some(limit) = self.limit {
            call = call.limit(limit);
        }
        call.arguments(self.table()).timeout(self.timeout)
    }

    fn cast(&self, mailbox: &Mailbox, method: &str) -> Cast {
        let mut cast = if self.nodes.is_empty() {
            mailbox.abcast(method)
        } else {
            mailbox.cast(&self.nodes, method)
        };
        if let Some(pattern) = &self.pattern {
            cast = cast.matching(pattern, Matcher::Glob);
        }
        cast.arguments(self.table())
    }
}

#[derive(Serialize)]
struct Line {
    node: String,
    reply: Value,
}

fn print(session: &mut Session, reply: Reply, only_names: bool) -> Result<(), Stop> {
    let mut line = if only_names {
        reply.node.into_bytes()
    } else {
        json::write(&Line { node: reply.node, reply: reply.value })?
    };
    line.push(b'\n');
    session.print(&line)
}

const EXAMPLES: &str = "\
Examples:
  kombu control amqp://localhost// ping
  kombu control amqp://localhost// nodes --pattern 'celery@web*'
  kombu control redis://localhost/0 rate_limit --argument task_name=app.add \\
      --argument rate_limit=10/s --node celery@one --timeout 5
  kombu control amqp://localhost// stop --namespace encoders --type direct --no-reply";
