//! What the suite is run on.

use std::env;
use std::sync::Arc;

use kombu_core::transport::{Transport, TransportRegistry};

use crate::address;
use crate::control::{BrokerControl, CommandControl};
use crate::detour::Detour;

/// A transport and a broker to try it on.
#[derive(Clone, Debug)]
pub struct Target {
    pub(crate) transport: Arc<dyn Transport>,
    /// The broker, or why there is none.
    pub(crate) url: Result<String, Missing>,
    pub(crate) control: Option<Arc<dyn BrokerControl>>,
    pub(crate) checks_passwords: bool,
    pub(crate) detour: Option<Arc<dyn Detour>>,
}

/// Why there is no broker.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    pub(crate) reason: String,
    /// Whether that is a failure.
    pub(crate) required: bool,
}

impl Target {
    /// A transport on a broker that is always there, such as `memory://`.
    #[must_use]
    pub fn new(url: impl Into<String>, transport: impl Transport) -> Self {
        Self::with_url(Ok(url.into()), transport)
    }

    /// A transport on the broker whose URL is in the variable `KOMBU_TEST_<name>_URL`.
    ///
    /// Without the variable every case is ignored, or fails if `KOMBU_REQUIRE_BROKERS` is 1.
    /// With `KOMBU_TEST_<name>_CONTROL` the cases of recovery disturb the broker; see
    /// [`CommandControl`].
    #[must_use]
    pub fn from_env(name: &str, transport: impl Transport) -> Self {
        let variable = format!("KOMBU_TEST_{name}_URL");
        let url = env::var(&variable).ok().filter(|url| !url.is_empty()).ok_or_else(|| Missing {
            reason: format!("no broker: {variable} is not set"),
            required: env::var("KOMBU_REQUIRE_BROKERS").is_ok_and(|value| value == "1"),
        });
        let mut target = Self::with_url(url, transport);
        if let Ok(command) = env::var(format!("KOMBU_TEST_{name}_CONTROL")) {
            target = target.control(CommandControl::new(&command));
        }
        target
    }

    /// What can be done to the broker. Default: as the environment says, or nothing.
    #[must_use]
    pub fn control(mut self, control: impl BrokerControl) -> Self {
        self.control = Some(Arc::new(control));
        self
    }

    /// How links go through a proxy. Default: the proxy stands for the URL's host and port.
    #[must_use]
    pub fn detour(mut self, detour: impl Detour) -> Self {
        self.detour = Some(Arc::new(detour));
        self
    }

    /// Whether the broker refuses a wrong password. Default: if the URL has one.
    #[must_use]
    pub fn checks_passwords(mut self, checks: bool) -> Self {
        self.checks_passwords = checks;
        self
    }

    /// The registry that holds the transport and no other.
    pub(crate) fn registry(&self) -> TransportRegistry {
        TransportRegistry::new().with_shared(Arc::clone(&self.transport))
    }

    /// The URL; a case is run only if there is one.
    pub(crate) fn url(&self) -> &str {
        self.url.as_deref().unwrap_or_default()
    }

    /// What of the target a case needs and is not there.
    pub(crate) fn lacks(&self, need: &str) -> Option<&'static str> {
        match need {
            "control" if self.control.is_none() => Some("no control of the broker"),
            "credentials" if !self.checks_passwords => Some("no password in the URL"),
            "tcp" if address::of(self.url()).is_none() => Some("no host and port in the URL"),
            _ => None,
        }
    }

    fn with_url(url: Result<String, Missing>, transport: impl Transport) -> Self {
        let checks_passwords =
            url.as_ref().is_ok_and(|url| address::with_password(url, "x").is_some());
        Self { transport: Arc::new(transport), url, control: None, checks_passwords, detour: None }
    }
}
