//! One connection to a server or cluster: the only place that speaks to the driver, fred.
//!
//! The driver neither reconnects nor repeats commands: a link that breaks is over, and what was
//! under way on it fails.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::{
    ClientLike as _, EventInterface as _, PubsubInterface as _, TrackingInterface as _,
};
use fred::types::config::{
    ClusterDiscoveryPolicy, Config, ConnectionConfig, PerformanceConfig, Server, ServerConfig,
};
use fred::types::{ClusterHash, CustomCommand, Resp3Frame, RespVersion, Value};
use kombu_core::{Error, ErrorKind, Result, Scope};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::error;
use crate::life::Life;
use crate::place::{Login, Place};
use crate::reply::Reply;
use crate::slot::slot;

/// What the server says without being asked.
#[derive(Debug)]
pub(crate) enum Event {
    /// Keys that this connection read have changed.
    Changed(Vec<Bytes>),
    Message {
        channel: String,
        payload: Bytes,
    },
    /// Events were left out.
    Missed,
}

/// A connection.
pub(crate) struct Link {
    client: Client,
    life: Arc<Life>,
    /// How long an answer may take where nothing else notices a silent server.
    limit: Option<Duration>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Link {
    /// Connects, and waits for the server's greeting.
    pub(crate) async fn connect(place: &Place, login: &Login) -> Result<Self> {
        let config = config(place, login);
        let performance =
            PerformanceConfig { broadcast_channel_capacity: EVENTS, ..Default::default() };
        let mut connection = ConnectionConfig {
            connection_timeout: login.timeout,
            internal_command_timeout: login.timeout,
            max_command_attempts: 1,
            ..Default::default()
        };
        connection.tcp.nodelay = Some(true);
        let client = Client::new(config, Some(performance), Some(connection), None);
        let mut driving = client.connect();
        let connected = timeout(login.timeout, client.wait_for_connect()).await;
        match connected {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => {
                driving.abort();
                return Err(connecting(place, error::fred(refused)));
            }
            Err(_elapsed) => {
                driving.abort();
                let text = format!("no answer within {:?}", login.timeout);
                return Err(connecting(
                    place,
                    Error::new(ErrorKind::Timeout, text).scoped(Scope::Connection),
                ));
            }
        }
        let life = Arc::new(Life::new(driving.abort_handle()));
        let watched = Arc::clone(&life);
        let watching = tokio::spawn(async move {
            let end = match (&mut driving).await {
                Ok(Err(broken)) => error::fred(broken),
                _ => Error::lost("the server closed the connection"),
            };
            watched.end(end);
        });
        Ok(Self { client, life, limit: Some(SILENCE), tasks: Mutex::new(vec![watching]) })
    }

    /// Asks the server for a sign of life at intervals; a link without one is lost. Without
    /// heartbeats every answer has a limit of its own.
    pub(crate) fn keep_alive(&mut self, heartbeat: Duration) {
        if heartbeat.is_zero() {
            return;
        }
        if !self.client.is_clustered() {
            self.limit = None;
        }
        let (client, life) = (self.client.clone(), Arc::clone(&self.life));
        let beating = tokio::spawn(async move {
            loop {
                sleep(heartbeat / 2).await;
                let command = CustomCommand::new_static("PING", ClusterHash::Random, false);
                let ping = client.custom_raw(command, Vec::<Value>::new());
                let patience = heartbeat * 3 / 2;
                match timeout(patience, ping).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(broken)) => return life.end(error::fred(broken)),
                    Err(_elapsed) => {
                        let text = format!("the server did not answer within {patience:?}");
                        return life.end(Error::lost(text));
                    }
                }
            }
        });
        self.lock().push(beating);
    }

    /// Sets how long any answer may take.
    pub(crate) fn answer_within(&mut self, limit: Duration) {
        self.limit = Some(limit);
    }

    /// Gives the connection a name for the servers to show; spaces cannot be in it.
    pub(crate) async fn set_name(&self, name: &str) -> Result<()> {
        let name: String = name
            .chars()
            .map(|letter| if letter.is_ascii_graphic() { letter } else { '-' })
            .collect();
        for server in self.client.active_connections() {
            let command = CustomCommand::new_static("CLIENT", ClusterHash::Random, false);
            let node = self.client.with_cluster_node(server);
            let naming = timeout(SILENCE, node.custom_raw(command, vec!["SETNAME", &name])).await;
            // A user may be without the right to it, which is an answer like any other.
            naming
                .map_err(|_elapsed| Error::lost("the server does not answer"))?
                .map_err(error::fred)?;
        }
        Ok(())
    }

    /// Sends a command and waits for its answer. On a cluster it goes to the node of the key.
    pub(crate) async fn call(
        &self,
        key: &[u8],
        name: &'static str,
        arguments: Vec<Bytes>,
    ) -> Result<Reply> {
        match self.ask(key, name, arguments).await? {
            Reply::Refused(text) => Err(self.judge(error::refused(&text).with("command", name))),
            reply => Ok(reply),
        }
    }

    /// As [`call`](Self::call), with a refusal of the server as an answer.
    pub(crate) async fn ask(
        &self,
        key: &[u8],
        name: &'static str,
        arguments: Vec<Bytes>,
    ) -> Result<Reply> {
        self.life.check()?;
        let slot = ClusterHash::Custom(slot(key));
        let command = CustomCommand::new_static(name, slot, false);
        let arguments: Vec<Value> = arguments.into_iter().map(Value::Bytes).collect();
        let answer = self.client.custom_raw(command, arguments);
        let limit = self.limit;
        let limited = async {
            match limit {
                None => answer.await.map_err(error::fred),
                Some(limit) => match timeout(limit, answer).await {
                    Ok(answer) => answer.map_err(error::fred),
                    Err(_elapsed) => {
                        Err(Error::lost(format!("the server did not answer within {limit:?}")))
                    }
                },
            }
        };
        tokio::select! {
            biased;
            answer = limited => match answer {
                Ok(frame) => Ok(reply(frame)),
                Err(error) => Err(self.judge(error.with("command", name))),
            },
            end = self.life.over() => Err(end),
        }
    }

    /// The error for a refusal, which may end the link.
    pub(crate) fn refuse(&self, text: &str) -> Error {
        self.judge(error::refused(text))
    }

    /// Ends the link if an error says so.
    fn judge(&self, error: Error) -> Error {
        if error.scope() == Scope::Connection {
            self.life.end(error.duplicate());
        }
        error
    }

    /// Asks the server to tell of changes to keys that this connection reads.
    pub(crate) async fn track(&self) -> Result<()> {
        let none: Vec<String> = Vec::new();
        self.client.start_tracking(none, false, false, false, false).await.map_err(error::fred)
    }

    /// Publishes to a channel: on a cluster at the node where this connection subscribes, which
    /// hands the message to its own subscribers before it answers.
    pub(crate) async fn publish(&self, channel: Bytes, payload: Bytes) -> Result<Reply> {
        self.call(self.client.id().as_bytes(), "PUBLISH", vec![channel, payload]).await
    }

    /// Subscribes, and waits until the server has confirmed it.
    pub(crate) async fn subscribe(&self, channel: &str, pattern: Option<&str>) -> Result<()> {
        let subscribing = async {
            self.client.subscribe(channel).await?;
            match pattern {
                Some(pattern) => self.client.psubscribe(pattern).await,
                None => Ok(()),
            }
        };
        tokio::select! {
            biased;
            done = timeout(SILENCE, subscribing) => match done {
                Ok(done) => done.map_err(|error| self.judge(error::fred(error))),
                Err(_elapsed) => Err(self.judge(Error::lost("no answer to a subscription"))),
            },
            end = self.life.over() => Err(end),
        }
    }

    pub(crate) async fn unsubscribe(&self, channel: &str, pattern: Option<&str>) -> Result<()> {
        let leaving = async {
            self.client.unsubscribe(channel).await?;
            match pattern {
                Some(pattern) => self.client.punsubscribe(pattern).await,
                None => Ok(()),
            }
        };
        timeout(SILENCE, leaving)
            .await
            .map_err(|_elapsed| Error::lost("no answer to a subscription's end"))?
            .map_err(error::fred)
    }

    /// What the server says without being asked, in order per kind.
    pub(crate) fn events(&self) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(EVENTS);
        let mut changes = self.client.invalidation_rx();
        let to = sender.clone();
        let telling = tokio::spawn(async move {
            loop {
                let event = match changes.recv().await {
                    Ok(change) => Event::Changed(
                        change
                            .keys
                            .into_iter()
                            .map(|key| Bytes::copy_from_slice(key.as_bytes()))
                            .collect(),
                    ),
                    Err(RecvError::Lagged(_)) => Event::Missed,
                    Err(RecvError::Closed) => return,
                };
                if to.send(event).await.is_err() {
                    return;
                }
            }
        });
        let mut messages = self.client.message_rx();
        let handing = tokio::spawn(async move {
            loop {
                let event = match messages.recv().await {
                    Ok(message) => {
                        let payload = match message.value {
                            Value::Bytes(bytes) => bytes,
                            Value::String(text) => text.into_inner(),
                            other => Bytes::from(other.into_string().unwrap_or_default()),
                        };
                        Event::Message { channel: message.channel.to_string(), payload }
                    }
                    Err(RecvError::Lagged(_)) => Event::Missed,
                    Err(RecvError::Closed) => return,
                };
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        });
        self.lock().extend([telling, handing]);
        receiver
    }

    /// Keeps a task of this link, which ends with it.
    pub(crate) fn keep(&self, task: JoinHandle<()>) {
        self.lock().push(task);
    }

    /// Sets what is done first when the link is lost, before anyone hears of it.
    pub(crate) fn on_loss(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.life.on_end(hook);
    }

    /// Waits until the link is lost. Cancel safe.
    pub(crate) async fn lost(&self) -> Error {
        self.life.over().await
    }

    /// Ends the link in good order.
    pub(crate) async fn close(&self) {
        self.life.close();
        let _in_any_case = timeout(SILENCE, self.client.quit()).await;
        for task in self.lock().drain(..) {
            task.abort();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for task in self.lock().drain(..) {
            task.abort();
        }
    }
}

fn config(place: &Place, login: &Login) -> Config {
    let server = |host: &str, port| {
        let name = login.tls.as_ref().and_then(|tls| tls.server_name.clone());
        Server::new_with_tls(host, port, name.or_else(|| Some(host.to_owned())))
    };
    Config {
        username: login.username.clone(),
        password: login.password.as_ref().map(|password| password.expose().to_owned()),
        server: match place {
            Place::Tcp { host, port } => {
                ServerConfig::Centralized { server: server(host.as_str(), *port) }
            }
            Place::Socket(path) => ServerConfig::Unix { path: path.clone() },
            Place::Cluster(nodes) => ServerConfig::Clustered {
                hosts: nodes.iter().map(|(host, port)| server(host.as_str(), *port)).collect(),
                policy: ClusterDiscoveryPolicy::ConfigEndpoint,
            },
        },
        version: RespVersion::RESP3,
        database: login.database,
        tls: login.tls.as_ref().map(|tls| fred::types::config::TlsConfig {
            connector: fred::types::config::TlsConnector::Rustls(Arc::clone(&tls.config).into()),
            hostnames: fred::types::config::TlsHostMapping::DefaultHost,
        }),
        ..Config::default()
    }
}

/// Adds to an error where the connection was to go.
fn connecting(place: &Place, error: Error) -> Error {
    let error = match error.kind() {
        ErrorKind::AccessRefused
        | ErrorKind::Tls
        | ErrorKind::Timeout
        | ErrorKind::ConnectionLost
        | ErrorKind::Protocol => error,
        kind => {
            Error::new(kind, error.message().to_owned()).scoped(Scope::Connection).caused_by(error)
        }
    };
    error.with("server", place)
}

fn reply(frame: Resp3Frame) -> Reply {
    match frame {
        Resp3Frame::BlobString { data, .. }
        | Resp3Frame::SimpleString { data, .. }
        | Resp3Frame::VerbatimString { data, .. }
        | Resp3Frame::BigNumber { data, .. } => Reply::Bytes(data),
        Resp3Frame::SimpleError { data, .. } => Reply::Refused(data.to_string()),
        Resp3Frame::BlobError { data, .. } => {
            Reply::Refused(String::from_utf8_lossy(&data).into_owned())
        }
        Resp3Frame::Boolean { data, .. } => Reply::Int(i64::from(data)),
        Resp3Frame::Number { data, .. } => Reply::Int(data),
        Resp3Frame::Double { data, .. } => Reply::Bytes(Bytes::from(data.to_string())),
        Resp3Frame::Array { data, .. } | Resp3Frame::Push { data, .. } => {
            Reply::List(data.into_iter().map(reply).collect())
        }
        Resp3Frame::Set { data, .. } => Reply::List(data.into_iter().map(reply).collect()),
        Resp3Frame::Map { data, .. } => Reply::List(
            data.into_iter().flat_map(|(key, value)| [reply(key), reply(value)]).collect(),
        ),
        _ => Reply::Nil,
    }
}

/// How long a server may be silent before the link is lost, where there are no heartbeats.
const SILENCE: Duration = Duration::from_secs(30);

/// The most events that wait to be looked at.
const EVENTS: usize = 4096;
