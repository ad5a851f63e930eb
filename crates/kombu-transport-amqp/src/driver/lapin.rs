//! A connection through lapin.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use kombu_core::transport::ServerInfo;
use kombu_core::{Error, ErrorKind, Result, Scope};
use lapin::options::BasicQosOptions;
use lapin::types::LongString;
use lapin::uri::{
    AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism,
};
use lapin::{
    AsyncTcpStream, Channel, Connection, ConnectionProperties, ConnectionStatus, ErrorKind as Kind,
    Event,
};
use tokio::sync::{OnceCell, broadcast, oneshot};

use crate::blocked::Blocked;
use crate::driver::dial::Cut;
use crate::driver::runtime;
use crate::error;
use crate::fate::Fate;
use crate::options::LoginMethod;
use crate::settings::Settings;
use crate::tasks::Tasks;

/// A connection; dropping it ends it at once.
#[derive(Debug)]
pub(crate) struct LapinLink {
    connection: Connection,
    server: ServerInfo,
    nack: bool,
    #[cfg(feature = "amqprs")]
    peer: std::net::SocketAddr,
    cut: Arc<Cut>,
    fate: Arc<Fate>,
    /// Errors of channels; lapin does not say of which.
    channel_errors: broadcast::Sender<Arc<Error>>,
    /// Channels that the broker closed. lapin cannot use their numbers again.
    burnt: Arc<AtomicUsize>,
    ping: OnceCell<Channel>,
    timeout: Duration,
    _tasks: Tasks,
}

impl LapinLink {
    /// Connects; `role` is added to the connection's name.
    pub(crate) async fn connect(
        settings: &Settings,
        role: &str,
        blocked: Option<Arc<Blocked>>,
    ) -> Result<Self> {
        let dialled = settings.target.dial().await?;
        let failed = |error: Error| {
            error
                .scoped(Scope::Connection)
                .during("log in to the broker")
                .with("broker", settings.target.address())
                .with("user", &settings.username)
                .with("vhost", &settings.vhost)
        };
        let mechanism = mechanism(settings.options.login_method);
        dialled.greeting.check_mechanism(mechanism.name()).map_err(failed)?;
        let stream = std::sync::Mutex::new(Some(dialled.stream));
        let connect = async move |_uri, _runtime| {
            let stream = stream.lock().ok().and_then(|mut stream| stream.take());
            // A second attempt would need a second socket.
            stream.map(AsyncTcpStream::Plain).ok_or_else(|| {
                lapin::Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))
            })
        };
        // From here on lapin's thread owns the socket: an attempt that is given up must end it.
        let cut = CutUnless::new(dialled.cut);
        let connecting = Connection::connector(
            uri(settings, mechanism),
            runtime::current(),
            connect,
            properties(settings, role),
        );
        let mut dropped = dialled.dropped;
        let connection = tokio::time::timeout(settings.timeout(), login(connecting, &mut dropped))
            .await
            .unwrap_or_else(|_elapsed| {
                let message = format!("no answer within {:?}", settings.timeout());
                Err(Error::new(ErrorKind::Timeout, message))
            })
            .map_err(failed)?;
        let fate = Arc::new(Fate::new());
        let channel_errors = broadcast::Sender::new(16);
        let burnt = Arc::new(AtomicUsize::new(0));
        let watch = Watch {
            burnt: Arc::clone(&burnt),
            status: connection.status().clone(),
            fate: Arc::clone(&fate),
            channel_errors: channel_errors.clone(),
            blocked,
        };
        let tasks = Tasks::default();
        tasks.spawn(watch.run(connection.events_listener(), dropped));
        Ok(Self {
            connection,
            server: dialled.greeting.server.clone(),
            nack: dialled.greeting.has_nack(),
            #[cfg(feature = "amqprs")]
            peer: dialled.peer,
            cut: Arc::new(cut.keep()),
            fate,
            channel_errors,
            burnt,
            ping: OnceCell::new(),
            timeout: settings.timeout(),
            _tasks: tasks,
        })
    }

    pub(crate) fn server(&self) -> &ServerInfo {
        &self.server
    }

    pub(crate) fn has_nack(&self) -> bool {
        self.nack
    }

    #[cfg(feature = "amqprs")]
    pub(crate) fn peer(&self) -> std::net::SocketAddr {
        self.peer
    }

    pub(crate) fn fate(&self) -> &Arc<Fate> {
        &self.fate
    }

    /// The negotiated heartbeat in seconds; 0 for none.
    #[cfg(feature = "amqprs")]
    pub(crate) fn heartbeat(&self) -> u16 {
        self.connection.configuration().heartbeat()
    }

    /// Whether broker and client agreed on frames without limit.
    #[cfg(feature = "amqprs")]
    pub(crate) fn frames_are_unlimited(&self) -> bool {
        self.connection.configuration().frame_max() == u32::MAX
    }

    pub(crate) fn channel_errors(&self) -> broadcast::Receiver<Arc<Error>> {
        self.channel_errors.subscribe()
    }

    /// Opens a channel. Cancel safe.
    pub(crate) async fn open_channel(&self) -> Result<Channel> {
        let mut numbers = self.connection.configuration().channel_max();
        loop {
            match self.connection.create_channel().await {
                Ok(channel) => return Ok(channel),
                // lapin answers with the old error for a number whose channel the broker closed
                // once. It takes the next number next time.
                Err(error) if error.is_amqp_soft_error() && numbers > 0 => numbers -= 1,
                Err(error) => {
                    let dead = self.fate.reason();
                    let error = dead.unwrap_or_else(|| opening(error));
                    return Err(error.during("open a channel"));
                }
            }
        }
    }

    pub(crate) fn is_used_up(&self) -> bool {
        let limit = usize::from(self.connection.configuration().channel_max()) / 2;
        self.burnt.load(Ordering::Relaxed) >= limit.max(1)
    }

    /// One round trip.
    pub(crate) async fn ping(&self) -> Result<()> {
        let ping = async {
            let channel = self.ping.get_or_try_init(|| self.open_channel()).await?;
            let answer = channel.basic_qos(0, BasicQosOptions::default()).await;
            answer.map_err(|error| self.fate.reason().unwrap_or_else(|| error::lapin(error)))
        };
        tokio::time::timeout(self.timeout, ping).await.unwrap_or_else(|_elapsed| {
            Err(Error::lost(format!("the broker did not answer within {:?}", self.timeout)))
        })
    }

    /// Ends the connection at once.
    pub(crate) fn cut(&self) {
        self.cut.now();
    }

    /// Ends the connection with a goodbye.
    pub(crate) async fn close(&self) -> Result<()> {
        if !self.fate.decide(Error::closed("connection")) {
            return Ok(());
        }
        let goodbye = self.connection.close(REPLY_SUCCESS, "closed".into());
        let answered = tokio::time::timeout(self.timeout, goodbye).await;
        self.cut();
        answered.map(drop).map_err(|_elapsed| {
            Error::new(
                ErrorKind::Timeout,
                format!("the broker did not answer within {:?}", self.timeout),
            )
            .during("close the connection")
            .scoped(Scope::Connection)
        })
    }
}

impl Drop for LapinLink {
    fn drop(&mut self) {
        self.fate.decide(Error::closed("connection"));
        self.cut.now();
    }
}

/// Cuts a socket unless told to keep it.
struct CutUnless(Option<Cut>);

impl CutUnless {
    fn new(cut: Cut) -> Self {
        Self(Some(cut))
    }

    fn keep(mut self) -> Cut {
        self.0.take().expect("only taken here, by value")
    }
}

impl Drop for CutUnless {
    fn drop(&mut self) {
        if let Some(cut) = &self.0 {
            cut.now();
        }
    }
}

/// Turns lapin's events into what links and channels wait for.
struct Watch {
    burnt: Arc<AtomicUsize>,
    status: ConnectionStatus,
    fate: Arc<Fate>,
    channel_errors: broadcast::Sender<Arc<Error>>,
    blocked: Option<Arc<Blocked>>,
}

impl Watch {
    async fn run(
        self,
        events: impl Stream<Item = Event> + Send + 'static,
        mut dropped: oneshot::Receiver<()>,
    ) {
        let mut events = Box::pin(events);
        loop {
            let event = tokio::select! {
                biased;
                event = events.next() => event,
                _stream_is_dropped = &mut dropped => break,
            };
            match event {
                Some(event) => self.handle(event),
                None => break,
            }
            if self.fate.is_decided() {
                return;
            }
        }
        // The reason may come after the end of the stream.
        let reason = async {
            while !self.fate.is_decided() {
                match events.next().await {
                    Some(event) => self.handle(event),
                    None => break,
                }
            }
        };
        let _elapsed = tokio::time::timeout(LAST_WORDS, reason).await;
        self.fate.decide(Error::lost("the broker closed the connection"));
    }

    fn handle(&self, event: Event) {
        match event {
            Event::Error(error) => {
                let channel_error = matches!(error.kind(), Kind::ProtocolError(_))
                    && error.is_amqp_soft_error()
                    && self.status.connected();
                let error = error::lapin(error);
                if channel_error {
                    self.burnt.fetch_add(1, Ordering::Relaxed);
                    let _nobody_listens = self.channel_errors.send(Arc::new(error));
                } else if !self.status.connected() {
                    self.fate.decide(error.scoped(Scope::Connection));
                }
            }
            Event::ConnectionBlocked(reason) => {
                if let Some(blocked) = &self.blocked {
                    blocked.set(reason);
                }
            }
            Event::ConnectionUnblocked => {
                if let Some(blocked) = &self.blocked {
                    blocked.clear();
                }
            }
            _ => {}
        }
    }
}

/// Awaits the end of the login. lapin forgets to give one when the broker hangs up.
async fn login(
    connecting: impl Future<Output = lapin::Result<Connection>>,
    dropped: &mut oneshot::Receiver<()>,
) -> Result<Connection> {
    let mut connecting = std::pin::pin!(connecting);
    tokio::select! {
        biased;
        connected = &mut connecting => return connected.map_err(error::lapin),
        _stream_is_dropped = dropped => {}
    }
    // The reason may come after the end of the stream.
    match tokio::time::timeout(LAST_WORDS, connecting).await {
        Ok(Err(error)) => Err(error::lapin(error)),
        _ => Err(Error::lost("the broker closed the connection during the login")),
    }
}

fn mechanism(method: LoginMethod) -> SASLMechanism {
    match method {
        LoginMethod::AmqPlain => SASLMechanism::AMQPlain,
        LoginMethod::External => SASLMechanism::External,
        LoginMethod::Plain => SASLMechanism::Plain,
    }
}

fn uri(settings: &Settings, mechanism: SASLMechanism) -> AMQPUri {
    AMQPUri {
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: settings.username.clone(),
                password: settings.password.expose().to_owned(),
            },
            host: settings.target.host.clone(),
            port: settings.target.port,
        },
        vhost: settings.vhost.clone(),
        query: AMQPQueryString {
            frame_max: settings.options.frame_max,
            channel_max: settings.options.channel_max,
            heartbeat: settings.heartbeat,
            connection_timeout: None,
            auth_mechanism: Some(mechanism),
        },
    }
}

fn properties(settings: &Settings, role: &str) -> ConnectionProperties {
    let text = |text: &str| LongString::from(text);
    let properties = ConnectionProperties::default()
        .with_connection_name(text(&format!("{} {role}", settings.name)))
        .with_client_property("product".into(), text("Kombu for Rust"))
        .with_client_property("version".into(), text(env!("CARGO_PKG_VERSION")));
    settings.options.client_properties.iter().fold(properties, |properties, (name, value)| {
        properties.with_client_property(super::tables::short(name), text(value))
    })
}

const REPLY_SUCCESS: u16 = 200;
/// How long the reason for the end of a connection may lag behind the end.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What keeps a channel from being opened. One that breaks before it is open was closed by nobody:
/// the link is breaking, and that is not known yet.
fn opening(error: lapin::Error) -> Error {
    use lapin::ErrorKind::{InvalidChannel, InvalidChannelState};
    match error.kind() {
        InvalidChannelState(..) | InvalidChannel(_) => {
            Error::lost("the link broke while a channel was opened").caused_by(error)
        }
        _ => error::lapin(error),
    }
}
