//! Which transports there are: an explicit, immutable value.

use std::fmt;
use std::sync::Arc;

use super::Transport;
use crate::error::{Error, ErrorKind, Result};
use crate::suggest;

/// The transports that a connection may use.
///
/// ```
/// use kombu_core::transport::TransportRegistry;
/// let registry = TransportRegistry::new();
/// let error = registry.find("redis").unwrap_err();
/// assert!(error.to_string().contains("feature \"redis\""));
/// ```
#[derive(Clone, Default)]
pub struct TransportRegistry {
    transports: Vec<Arc<dyn Transport>>,
}

impl TransportRegistry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a transport; its schemes win over those of transports added before.
    #[must_use]
    pub fn with(self, transport: impl Transport) -> Self {
        self.with_shared(Arc::new(transport))
    }

    /// Adds a transport that is already shared.
    #[must_use]
    pub fn with_shared(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transports.insert(0, transport);
        self
    }

    /// The transports, the last added first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Transport>> {
        self.transports.iter()
    }

    /// The transport of a URL scheme. A scheme with a `+` is looked up whole, then by its first
    /// part: `redis+socket` is `redis`.
    ///
    /// # Errors
    ///
    /// `InvalidUrl` for a scheme that no transport here has; it names the feature to enable for
    /// one that Kombu knows, and the nearest name otherwise.
    pub fn find(&self, scheme: &str) -> Result<&Arc<dyn Transport>> {
        let first = scheme.split('+').next().unwrap_or(scheme);
        [scheme, first]
            .iter()
            .find_map(|wanted| self.iter().find(|known| known.schemes().contains(wanted)))
            .ok_or_else(|| self.unknown(first))
    }

    fn unknown(&self, scheme: &str) -> Error {
        if let Some((_, feature)) = KNOWN_SCHEMES.iter().find(|(known, _)| *known == scheme) {
            return Error::new(
                ErrorKind::InvalidUrl,
                format!(
                    "the transport for {scheme:?} is not compiled in; enable the feature \
                     {feature:?} of the crate kombu, or register the crate \
                     kombu-transport-{feature} yourself"
                ),
            );
        }
        let mut available: Vec<_> =
            self.iter().flat_map(|transport| transport.schemes()).copied().collect();
        available.sort_unstable();
        let every = KNOWN_SCHEMES.iter().map(|(known, _)| *known).chain(available.iter().copied());
        let hint = suggest::closest(scheme, every)
            .map_or_else(String::new, |name| format!("; did you mean {name:?}?"));
        Error::new(ErrorKind::InvalidUrl, format!("no transport has the scheme {scheme:?}{hint}"))
            .with(
                "available",
                if available.is_empty() { "none".to_owned() } else { available.join(",") },
            )
    }
}

impl fmt::Debug for TransportRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|transport| transport.name())).finish()
    }
}

/// The schemes of Kombu 5.7 and of this family of crates, each with the feature that brings it.
pub const KNOWN_SCHEMES: &[(&str, &str)] = &[
    ("amqp", "amqp"),
    ("amqps", "amqp"),
    ("azureservicebus", "azureservicebus"),
    ("azurestoragequeues", "azurestoragequeues"),
    ("confluentkafka", "kafka"),
    ("consul", "consul"),
    ("etcd", "etcd"),
    ("filesystem", "filesystem"),
    ("gcpubsub", "gcpubsub"),
    ("kafka", "kafka"),
    ("librabbitmq", "amqp"),
    ("memory", "memory"),
    ("mongodb", "mongodb"),
    ("pgmq", "pgmq"),
    ("pyamqp", "amqp"),
    ("pyro", "pyro"),
    ("qpid", "qpid"),
    ("redis", "redis"),
    ("rediss", "redis"),
    ("sentinel", "redis"),
    ("slmq", "slmq"),
    ("SLMQ", "slmq"),
    ("sqla", "sql"),
    ("sqlalchemy", "sql"),
    ("sqs", "sqs"),
    ("SQS", "sqs"),
    ("zookeeper", "zookeeper"),
];
