//! zookeeper-client, as a program would hold it.

use anyhow::{Result, anyhow};
use kombu::BrokerUrl;
use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Error};

/// A session below the URL's path, which is there.
pub(super) async fn connect(url: &str) -> Result<Client> {
    let url = BrokerUrl::parse(url)?;
    let client = Client::connect(&url.address()).await?;
    let path = format!("/{}", url.vhost().unwrap_or_default().trim_matches('/'));
    if path == "/" {
        return Ok(client);
    }
    client.mkdir(&path, &node(CreateMode::Persistent)).await?;
    client.chroot(path).map_err(|_client| anyhow!("the URL's path is none"))
}

/// A node for everybody, as Kombu makes them.
pub(super) fn node(mode: CreateMode) -> CreateOptions<'static> {
    mode.with_acls(Acls::anyone_all())
}

/// Makes a node, if it is not there.
pub(super) async fn make(client: &Client, path: &str) -> Result<()> {
    match client.create(path, b"", &node(CreateMode::Persistent)).await {
        Ok(_) | Err(Error::NodeExists) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The names of a queue's messages, in order.
pub(super) async fn list(client: &Client, path: &str) -> Result<Vec<String>> {
    match client.list_children(path).await {
        Ok(mut names) => {
            names.sort_unstable();
            Ok(names)
        }
        Err(Error::NoNode) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Deletes all children of a node, and the node.
pub(super) async fn delete(client: &Client, path: &str) -> Result<()> {
    for part in list(client, path).await?.chunks(500) {
        let deletions: Vec<_> =
            part.iter().map(|name| client.delete(&format!("{path}/{name}"), None)).collect();
        for deletion in deletions {
            deletion.await?;
        }
    }
    match client.delete(path, None).await {
        Ok(()) | Err(Error::NoNode) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
