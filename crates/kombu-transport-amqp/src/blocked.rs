//! Whether the broker takes publishes at all (memory and disk alarms).
//!
//! RabbitMQ in an alarm stops reading from connections that publish, and tells those that say they
//! understand. amqprs does not say so. When confirms are late, a short-lived connection of lapin's
//! publishes a message that no queue takes, and hears what there is to hear.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kombu_core::{Error, ErrorKind};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::driver::lapin::LapinLink;
use crate::settings::Settings;

/// What is known about alarms.
#[derive(Debug, Default)]
pub(crate) struct Blocked {
    is_set: AtomicBool,
    reason: Mutex<Option<String>>,
    changed: Notify,
    next_probe: Mutex<Option<Instant>>,
}

impl Blocked {
    /// The error for publishes, while the broker takes none.
    pub(crate) fn error(&self) -> Option<Error> {
        if !self.is_set.load(Ordering::Acquire) {
            return None;
        }
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(Error::new(ErrorKind::Blocked, reason.unwrap_or_default()).during("publish"))
    }

    /// Waits until the broker takes no publishes. Cancel safe.
    pub(crate) async fn wait(&self) -> Error {
        loop {
            let changed = self.changed.notified();
            if let Some(error) = self.error() {
                return error;
            }
            changed.await;
        }
    }

    pub(crate) fn set(&self, reason: String) {
        tracing::warn!(reason, "the broker takes no messages for now");
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
        self.is_set.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(crate) fn clear(&self) {
        if self.is_set.swap(false, Ordering::AcqRel) {
            tracing::info!("the broker takes messages again");
        }
        self.changed.notify_waiters();
    }

    /// Whether it is time for a probe. Answers true to one caller per interval.
    pub(crate) fn wants_probe(&self) -> bool {
        if self.is_set.load(Ordering::Acquire) {
            return false;
        }
        let now = Instant::now();
        let mut next = self.next_probe.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_some_and(|next| now < next) {
            return false;
        }
        *next = Some(now + BETWEEN_PROBES);
        true
    }

    /// Asks the broker, and if it is blocked stays until it is not.
    pub(crate) async fn probe(self: Arc<Self>, settings: Settings) {
        let link = LapinLink::connect(&settings, "probe", Some(Arc::clone(&self))).await;
        let asked = async {
            let link = link?;
            let channel = link.open_channel().await?;
            // The default exchange drops what has no queue of that name.
            let publish = channel.basic_publish(
                "".into(),
                "amq.kombu.probe".into(),
                BasicPublishOptions::default(),
                b"",
                BasicProperties::default(),
            );
            publish.await.map_err(crate::error::lapin)?;
            self.until(true, PROBE_PATIENCE).await;
            while self.is_set.load(Ordering::Acquire) && !link.fate().is_decided() {
                tokio::select! {
                    () = self.until(false, BETWEEN_PROBES) => {}
                    _reason = link.fate().decided() => {}
                }
            }
            self.clear();
            link.close().await
        };
        if let Err(error) = asked.await {
            tracing::debug!(%error, "cannot ask the broker whether it is blocked");
            self.clear();
        }
    }

    async fn until(&self, wanted: bool, patience: Duration) {
        let reached = async {
            loop {
                let changed = self.changed.notified();
                if self.is_set.load(Ordering::Acquire) == wanted {
                    return;
                }
                changed.await;
            }
        };
        let _elapsed = tokio::time::timeout(patience, reached).await;
    }
}

/// How long a broker that is blocked may take to say so.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);
/// Confirms can be late for other reasons; that is not to cost a connection a second.
const BETWEEN_PROBES: Duration = Duration::from_secs(10);
