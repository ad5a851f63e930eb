//! Where the cases run: the broker's URL, queues of a case's own, connections.

use kombu_conformance::Detour as _;
use kombu_conformance::kit::{self, Result, control, variable, with_options};
use kombu_conformance::proxy::Proxy;
use kombu_core::{Connection, ConnectionBuilder, ConnectionState, Queue, RetryPolicy};
use kombu_transport_pyro::PyroTransport;
use tokio::time::{Duration, timeout};
use uuid::Uuid;

use crate::detour::NameServer;

/// The variable with the broker's URL.
pub(crate) const URL: &str = "KOMBU_TEST_PYRO_URL";

/// The variable with the command that acts on the daemon.
pub(crate) const CONTROL: &str = "KOMBU_TEST_PYRO_CONTROL";

/// The URL of the broker, with options.
pub(crate) fn url(options: &str) -> String {
    with_options(&variable(URL).unwrap_or_default(), options)
}

/// A queue that no other case has.
pub(crate) fn queue(name: &str) -> Queue {
    Queue::new(format!("kp-{name}-{}", Uuid::new_v4().simple()))
}

/// A connection to come, of a transport of its own, so that no other knows what it leaves.
pub(crate) fn builder(url: &str) -> ConnectionBuilder {
    let recovery = RetryPolicy::recover().interval_max(Duration::from_secs(1));
    Connection::builder(url).transport(PyroTransport::new()).recovery(recovery)
}

/// A connection to the broker.
pub(crate) async fn connect() -> kombu_core::Result<Connection> {
    builder(&url("")).connect().await
}

/// A proxy before the daemon, and a URL that leads through it, with options.
pub(crate) async fn proxy(options: &str) -> Result<(Proxy, String)> {
    let (host, port) = NameServer.broker(&url("")).await?;
    let proxy = Proxy::start(&host, port).await?;
    let through = NameServer.through(&url(""), proxy.port()).await?;
    Ok((proxy, with_options(&through, options)))
}

/// Acts on the daemon.
pub(crate) async fn daemon(action: &str) -> kit::Outcome {
    control(CONTROL, action).await
}

/// Waits until a connection has lost its link, or has one.
pub(crate) async fn until_link(connection: &Connection, is_there: bool) -> kit::Outcome {
    let fits = |state: &ConnectionState| matches!(state, ConnectionState::Connected(_)) == is_there;
    timeout(kit::SOON, connection.wait_for_state(fits)).await?;
    Ok(())
}
