//! fred, as a program would hold it.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use fred::clients::Client;
use fred::interfaces::ClientLike as _;
use fred::types::config::Config;
use fred::types::{Builder, ClusterHash, CustomCommand, Value};

/// A connection.
pub(super) async fn connect(url: &str) -> Result<Client> {
    let client = Builder::from_config(Config::from_url(url)?).build()?;
    client.init().await?;
    Ok(client)
}

/// Sends a command and waits for its answer.
pub(super) async fn send(
    client: &Client,
    command: &'static str,
    arguments: Vec<Value>,
) -> Result<Value> {
    let command = CustomCommand::new_static(command, ClusterHash::FirstKey, false);
    Ok(client.custom(command, arguments).await?)
}

/// A number that was answered.
pub(super) fn number(answer: &Value) -> Result<u64> {
    answer.as_u64().with_context(|| format!("{answer:?} is no number"))
}

/// Checks that a command was done as often as asked for.
pub(super) fn expect(answer: &Value, count: u64) -> Result<()> {
    let done = number(answer)?;
    ensure!(done == count, "done {done} times instead of {count}");
    Ok(())
}

/// Bytes that were answered.
pub(super) fn bytes(answer: Value) -> Result<Bytes> {
    match answer {
        Value::Bytes(bytes) => Ok(bytes),
        Value::String(text) => Ok(text.into_inner()),
        other => anyhow::bail!("{other:?} is no text"),
    }
}
