//! Publishing through amqprs.
//!
//! What its 2.1.5 needs a guard for: names over 255 bytes (refused before), heartbeats of 0 and 1
//! and frames without limit (see [`unfit`]), calls dropped half way (every call here is run to its
//! end by its one caller), channel numbers that are never given back (the link is replaced), and
//! panics of its tasks (noticed by the drop of what they own).

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amqprs::callbacks::{ChannelCallback, ConnectionCallback};
use amqprs::channel::{BasicPublishArguments, Channel, ConfirmSelectArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::security::SecurityCredentials;
use amqprs::tls::TlsAdaptor;
use amqprs::{
    Ack, BasicProperties, ByteArray, Cancel, Close, CloseChannel, DecimalValue, FieldArray,
    FieldTable, FieldValue, Nack, Return,
};
use async_trait::async_trait;
use kombu_core::{Error, Properties, Result, Table, Value};
use tokio_rustls::TlsConnector;

use crate::driver::lapin::LapinLink;
use crate::driver::{PublishChannel, PublishLink};
use crate::error;
use crate::fate::Fate;
use crate::ledger::{Entry, Ledger, Returned};
use crate::names;
use crate::options::LoginMethod;
use crate::settings::Settings;

/// Why amqprs cannot serve this connection; `None` if it can.
pub(crate) fn unfit(settings: &Settings, control: &LapinLink) -> Option<&'static str> {
    let options = &settings.options;
    if control.heartbeat() == 1 {
        // It would send one about every 4 ms.
        Some("a heartbeat of one second")
    } else if control.frames_are_unlimited() {
        Some("frames without limit")
    } else if options.frame_max.is_some() || options.channel_max.is_some() {
        Some("options channel_max and frame_max")
    } else if options.login_method == LoginMethod::AmqPlain
        && settings.username.len().max(settings.password.expose().len()) > 127
    {
        Some("AMQPLAIN with a user name or password of 128 bytes")
    } else {
        None
    }
}

/// A connection that publishes.
pub(crate) struct AmqprsLink {
    connection: Mutex<Option<Connection>>,
    fate: Arc<Fate>,
    /// Channels that the broker closed: amqprs never uses their numbers again, and panics when
    /// there are none left.
    burnt: Arc<AtomicUsize>,
    burnt_limit: usize,
    timeout: Duration,
}

impl AmqprsLink {
    /// Connects to the node that `control` is connected to.
    pub(crate) async fn connect(settings: &Settings, control: &LapinLink) -> Result<Self> {
        let arguments = arguments(settings, control);
        let timeout = settings.timeout();
        let open = async move { tokio::time::timeout(timeout, Connection::open(&arguments)).await };
        let connection = run_to_its_end(timeout, open)
            .await?
            .map_err(|_elapsed| Error::lost(format!("no answer within {timeout:?}")))?
            .map_err(error::amqprs)?;
        let fate = Arc::new(Fate::new());
        let watch = Watch { fate: Arc::clone(&fate) };
        connection.register_callback(watch).await.map_err(error::amqprs)?;
        let numbers =
            if connection.channel_max() == 0 { u16::MAX } else { connection.channel_max() };
        Ok(Self {
            connection: Mutex::new(Some(connection)),
            fate,
            burnt: Arc::new(AtomicUsize::new(0)),
            burnt_limit: (usize::from(numbers) / 2).max(1),
            timeout,
        })
    }

    fn connection(&self) -> Option<Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn take(&self) -> Option<Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait]
impl PublishLink for AmqprsLink {
    async fn open(&self, ledger: Arc<Ledger>) -> Result<Box<dyn PublishChannel>> {
        let gone = || self.fate.reason().unwrap_or_else(|| Error::lost("the link is closed"));
        let connection = self.connection().ok_or_else(gone)?;
        let gate = Arc::new(tokio::sync::Mutex::new(Gate::Open));
        let callback = Confirms {
            ledger: Arc::clone(&ledger),
            gate: Arc::clone(&gate),
            burnt: Arc::clone(&self.burnt),
        };
        let opening = async move {
            let channel = connection.open_channel(None).await?;
            channel.register_callback(callback).await?;
            channel.confirm_select(ConfirmSelectArguments::default()).await?;
            Ok(channel)
        };
        let channel = run_to_its_end(self.timeout, opening)
            .await?
            .map_err(|error| self.fate.reason().unwrap_or_else(|| error::amqprs(error)))?;
        Ok(Box::new(AmqprsPublisher {
            channel: Some(channel),
            ledger,
            gate,
            timeout: self.timeout,
        }))
    }

    fn fate(&self) -> &Arc<Fate> {
        &self.fate
    }

    fn is_used_up(&self) -> bool {
        self.burnt.load(Ordering::Relaxed) >= self.burnt_limit
    }

    fn cut(&self) {
        // Dropping it makes it say goodbye; there is no way to its socket.
        drop(self.take());
    }

    async fn close(&self) {
        self.fate.decide(Error::closed("connection"));
        if let Some(connection) = self.take() {
            let _elapsed = run_to_its_end(self.timeout, connection.close()).await;
        }
    }
}

impl fmt::Debug for AmqprsLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqprsLink").field("fate", &self.fate).finish_non_exhaustive()
    }
}

impl Drop for AmqprsLink {
    fn drop(&mut self) {
        self.fate.decide(Error::closed("connection"));
    }
}

/// Whether a channel may be sent on. The broker closes the whole connection when a publish comes
/// after the channel's close was answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Gate {
    Open,
    Shut,
}

/// A channel in confirm mode.
struct AmqprsPublisher {
    channel: Option<Channel>,
    ledger: Arc<Ledger>,
    gate: Arc<tokio::sync::Mutex<Gate>>,
    timeout: Duration,
}

#[async_trait]
impl PublishChannel for AmqprsPublisher {
    async fn send(&mut self, entries: &mut Vec<Entry>) -> Result<()> {
        let Some(channel) = &self.channel else {
            return Err(error::channel_gone());
        };
        let gate = self.gate.lock().await;
        if *gate == Gate::Shut {
            return Err(error::channel_gone());
        }
        let mut waiting = std::mem::take(entries).into_iter();
        while let Some(entry) = waiting.next() {
            let publish = Arc::clone(&entry.publish);
            if let Err(entry) = self.ledger.enter(entry) {
                entries.push(entry);
                entries.extend(waiting);
                return Err(error::channel_gone());
            }
            let mut arguments = BasicPublishArguments::new(&publish.exchange, &publish.routing_key);
            arguments.mandatory = publish.mandatory;
            let properties = properties(&publish.message.properties);
            let body = publish.message.body.to_vec();
            if let Err(error) = channel.basic_publish(properties, body, arguments).await {
                let error = error::amqprs(error);
                self.ledger.fail(&error);
                entries.extend(waiting);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn close(&mut self) {
        let shut = *self.gate.lock().await == Gate::Shut;
        if let Some(channel) = self.channel.take()
            && !shut
        {
            let _elapsed = run_to_its_end(self.timeout, channel.close()).await;
        }
    }
}

/// The callbacks of a connection; dropped when its reader ends, for whatever reason.
struct Watch {
    fate: Arc<Fate>,
}

#[async_trait]
impl ConnectionCallback for Watch {
    async fn close(
        &mut self,
        _connection: &Connection,
        close: Close,
    ) -> Result<(), amqprs::error::Error> {
        self.fate.decide(error::reply(close.reply_code(), close.reply_text()));
        Ok(())
    }

    async fn blocked(&mut self, _connection: &Connection, _reason: String) {}

    async fn unblocked(&mut self, _connection: &Connection) {}

    async fn secret_updated(&mut self, _connection: &Connection) {}
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.fate.decide(Error::lost(
            "the connection that publishes ended: it broke, or the broker was silent for two \
             heartbeats",
        ));
    }
}

/// The callbacks of a channel; dropped when its dispatcher ends.
struct Confirms {
    ledger: Arc<Ledger>,
    gate: Arc<tokio::sync::Mutex<Gate>>,
    burnt: Arc<AtomicUsize>,
}

#[async_trait]
impl ChannelCallback for Confirms {
    async fn close(
        &mut self,
        _channel: &Channel,
        close: CloseChannel,
    ) -> Result<(), amqprs::error::Error> {
        // The answer to the broker goes out after this returned.
        *self.gate.lock().await = Gate::Shut;
        self.burnt.fetch_add(1, Ordering::Relaxed);
        self.ledger.fail(&error::reply(close.reply_code(), close.reply_text()));
        Ok(())
    }

    async fn cancel(
        &mut self,
        _channel: &Channel,
        _cancel: Cancel,
    ) -> Result<(), amqprs::error::Error> {
        Ok(())
    }

    async fn flow(
        &mut self,
        _channel: &Channel,
        active: bool,
    ) -> Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _channel: &Channel, ack: Ack) {
        self.ledger.acked(ack.delivery_tag(), ack.mutiple());
    }

    async fn publish_nack(&mut self, _channel: &Channel, nack: Nack) {
        self.ledger.nacked(nack.delivery_tag(), nack.multiple());
    }

    async fn publish_return(
        &mut self,
        _channel: &Channel,
        returned: Return,
        _properties: BasicProperties,
        content: Vec<u8>,
    ) {
        self.ledger.returned(&Returned {
            code: returned.reply_code(),
            text: returned.reply_text(),
            exchange: returned.exchange(),
            routing_key: returned.routing_key(),
            body: &content,
        });
    }
}

impl Drop for Confirms {
    fn drop(&mut self) {
        self.ledger.fail(&Error::lost("the link ended before the broker answered"));
    }
}

/// Awaits a call that must not be dropped half way: amqprs then takes the next answer for this
/// one's, or panics. A task of its own also catches a panic over what the broker says.
async fn run_to_its_end<T: Send + 'static>(
    patience: Duration,
    call: impl Future<Output = T> + Send + 'static,
) -> Result<T> {
    match tokio::time::timeout(patience, tokio::spawn(call)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(panic)) => Err(Error::lost("the client crate amqprs gave up").caused_by(panic)),
        Err(_elapsed) => Err(Error::lost(format!("no answer within {patience:?}"))),
    }
}

fn arguments(settings: &Settings, control: &LapinLink) -> OpenConnectionArguments {
    let peer = control.peer();
    let host = match peer {
        std::net::SocketAddr::V4(address) => address.ip().to_string(),
        std::net::SocketAddr::V6(address) => format!("[{}]", address.ip()),
    };
    let password = settings.password.expose();
    let mut arguments = OpenConnectionArguments::new(&host, peer.port(), "", "");
    // With none agreed, amqprs would ask for none and then take every moment for a missed one.
    let heartbeat = Some(control.heartbeat()).filter(|seconds| *seconds > 0).unwrap_or(u16::MAX);
    arguments
        .virtual_host(&settings.vhost)
        .connection_name(&format!("{} publisher", settings.name))
        .heartbeat(heartbeat)
        .credentials(match settings.options.login_method {
            LoginMethod::AmqPlain => {
                SecurityCredentials::new_amqplain(&settings.username, password)
            }
            LoginMethod::External => SecurityCredentials::new_external(),
            LoginMethod::Plain => SecurityCredentials::new_plain(&settings.username, password),
        });
    if let Some(tls) = &settings.target.tls {
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        arguments.tls_adaptor(TlsAdaptor::new(connector, tls.server_name.to_str().into_owned()));
    }
    arguments
}

fn properties(from: &Properties) -> BasicProperties {
    let mut to = BasicProperties::default();
    to.with_delivery_mode(from.delivery_mode.number()).with_priority(from.priority);
    macro_rules! texts {
        ($($field:ident => $setter:ident),+) => {$(
            if let Some(text) = &from.$field {
                to.$setter(text);
            }
        )+};
    }
    texts!(
        content_type => with_content_type, content_encoding => with_content_encoding,
        correlation_id => with_correlation_id, reply_to => with_reply_to,
        expiration => with_expiration, message_id => with_message_id, kind => with_message_type,
        user_id => with_user_id, app_id => with_app_id, cluster_id => with_cluster_id
    );
    if !from.headers.is_empty() {
        to.with_headers(table(&from.headers));
    }
    if let Some(timestamp) = from.timestamp {
        to.with_timestamp(timestamp);
    }
    to
}

/// As `tables::to_lapin`, and with types only that amqprs reads when a message is returned.
fn table(from: &Table) -> FieldTable {
    let mut to = FieldTable::new();
    for (name, from) in from.iter() {
        if let (Ok(name), Some(value)) = (name.try_into(), value(from)) {
            to.insert(name, value);
        }
    }
    to
}

fn value(from: &Value) -> Option<FieldValue> {
    Some(match from {
        Value::Null => FieldValue::V,
        Value::Bool(truth) => FieldValue::t(*truth),
        Value::Int(number) => i32::try_from(*number).map_or(FieldValue::l(*number), FieldValue::I),
        Value::Float(number) => FieldValue::d(*number),
        Value::Decimal(text) => {
            let (places, digits) = names::decimal(text)?;
            FieldValue::D(DecimalValue::new(places, digits))
        }
        Value::Text(text) | Value::Tagged(_, text) => FieldValue::S(text.as_str().try_into().ok()?),
        Value::Bytes(bytes) => FieldValue::x(ByteArray::try_from(bytes.to_vec()).ok()?),
        Value::Timestamp(seconds) => FieldValue::T(u64::try_from(*seconds).ok()?),
        Value::List(items) => {
            let items: Vec<_> = items.iter().filter_map(value).collect();
            FieldValue::A(FieldArray::try_from(items).ok()?)
        }
        Value::Table(from) => FieldValue::F(table(from)),
        _ => return None,
    })
}
