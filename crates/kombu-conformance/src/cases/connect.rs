//! Connecting, and failing to.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use kombu_core::{Connection, ConnectionState, ErrorKind, Queue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::address;
use crate::case::cases;
use crate::failure::{Failure, Outcome, refused};
use crate::stage::Stage;
use crate::wait::{soon, within};

cases! {
    connects_and_names_the_server [];
    connects_at_first_use [];
    state_can_be_watched [];
    close_is_final [];
    unknown_option_is_refused [];
    wrong_password_says_so ["credentials"];
    closed_port_says_so ["tcp"];
    connect_has_a_deadline ["tcp"];
    rubbish_server_says_so ["tcp"];
    failover_connects_to_the_last_of_three_in_one_round ["tcp"];
    failover_to_nobody_names_all_three ["tcp"];
}

async fn connects_and_names_the_server(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let server = connection.server().await?;
    assert!(!server.product.is_empty(), "the server has no name: {server:?}");
    let ping = connection.ping().await?;
    assert!(ping < Duration::from_secs(5), "a ping took {ping:?}");
    assert_eq!(connection.capabilities().await?, stage.can, "capabilities differ between links");
    Ok(connection.close().await?)
}

async fn connects_at_first_use(stage: &Stage) -> Outcome {
    let connection = stage.builder().build()?;
    assert!(matches!(connection.state(), ConnectionState::Idle));
    connection.declare_queue(&stage.queue("work")).await?;
    assert!(matches!(connection.state(), ConnectionState::Connected(_)));
    Ok(connection.close().await?)
}

async fn state_can_be_watched(stage: &Stage) -> Outcome {
    let connection = stage.builder().build()?;
    let watcher = connection.clone();
    let watching = tokio::spawn(async move {
        let is_up = |state: &ConnectionState| matches!(state, ConnectionState::Connected(_));
        let up = watcher.wait_for_state(is_up).await;
        let is_closed = |state: &ConnectionState| matches!(state, ConnectionState::Closed);
        watcher.wait_for_state(is_closed).await;
        up
    });
    connection.connect().await?;
    connection.close().await?;
    let up = soon("the watcher of the state", watching).await??;
    assert!(matches!(up, ConnectionState::Connected(_)), "{up:?}");
    Ok(())
}

async fn close_is_final(stage: &Stage) -> Outcome {
    let connection = stage.connect().await?;
    let producer = connection.producer().await?;
    let queue = stage.queue("work");
    let mut consumer = connection.consumer(&queue).start().await?;
    soon("close", connection.close()).await??;
    soon("a second close", connection.close()).await??;
    let closed = [ErrorKind::Closed];
    refused(connection.connect().await, &closed)?;
    refused(connection.declare_queue(&queue).await, &closed)?;
    refused(producer.publish(&1).to("", queue.name()).await, &closed)?;
    refused(connection.get(queue.name()).await, &closed)?;
    match soon("the consumer of a closed connection", consumer.next()).await? {
        None => Ok(()),
        Some(next) => refused(next, &closed).map(drop),
    }
}

async fn unknown_option_is_refused(stage: &Stage) -> Outcome {
    let url = address::with_option(stage.url(), "no_such_option=1");
    let error = refused(stage.builder_for(url).connect().await, &[ErrorKind::InvalidArgument])?;
    let text = error.to_string();
    assert!(text.contains("no_such_option"), "it does not name the option: {text}");
    assert!(text.contains("connect_timeout"), "it does not list the known options: {text}");
    let connection = stage.builder().option("no_such_option", 1).connect().await;
    refused(connection, &[ErrorKind::InvalidArgument])?;
    Ok(())
}

async fn wrong_password_says_so(stage: &Stage) -> Outcome {
    let url = address::with_password(stage.url(), "hunter2")
        .ok_or_else(|| Failure::new("the URL has no password"))?;
    let error = refused(stage.builder_for(url).connect().await, &[ErrorKind::AccessRefused])?;
    assert!(!error.is_recoverable(), "a wrong password is no matter of waiting: {error:?}");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("hunter2"), "the password is shown: {shown}");
    Ok(())
}

async fn closed_port_says_so(stage: &Stage) -> Outcome {
    let port = address::closed_port()?;
    let url = address::with_port(stage.url(), port);
    let connecting = stage.builder_for(url).connect();
    let error = refused(soon("a closed port", connecting).await?, &[ErrorKind::ConnectionLost])?;
    assert!(error.is_recoverable(), "a broker may come back: {error:?}");
    says_where(stage, &format!("{error} {error:?}"), &[port]);
    Ok(())
}

async fn connect_has_a_deadline(stage: &Stage) -> Outcome {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = silent.local_addr()?.port();
    let hearing = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = silent.accept().await {
            connections.push(connection);
        }
    });
    let begun = Instant::now();
    let connecting = stage
        .builder_for(address::with_port(stage.url(), port))
        .connect_timeout(Duration::from_secs(1))
        .connect();
    let kinds = [ErrorKind::Timeout, ErrorKind::ConnectionLost];
    let error = refused(soon("a silent server", connecting).await?, &kinds)?;
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    says_where(stage, &format!("{error} {error:?}"), &[port]);
    hearing.abort();
    Ok(())
}

async fn rubbish_server_says_so(stage: &Stage) -> Outcome {
    let rubbish = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = rubbish.local_addr()?.port();
    let serving = tokio::spawn(async move {
        while let Ok((mut connection, _)) = rubbish.accept().await {
            tokio::spawn(async move {
                let mut greeting = [0; 8];
                let _read = connection.read(&mut greeting).await;
                let _written = connection.write_all(&[0xAA; 4096]).await;
            });
        }
    });
    let connecting = stage
        .builder_for(address::with_port(stage.url(), port))
        .connect_timeout(Duration::from_secs(2))
        .connect();
    let kinds =
        [ErrorKind::Protocol, ErrorKind::ConnectionLost, ErrorKind::Timeout, ErrorKind::Tls];
    let error = refused(soon("a server that sends rubbish", connecting).await?, &kinds)?;
    says_where(stage, &format!("{error} {error:?}"), &[port]);
    serving.abort();
    Ok(())
}

async fn failover_connects_to_the_last_of_three_in_one_round(stage: &Stage) -> Outcome {
    let dead = [address::closed_port()?, address::closed_port()?];
    let urls: Vec<String> = dead
        .map(|port| address::with_port(stage.url(), port))
        .into_iter()
        .chain([stage.url().to_owned()])
        .collect();
    // The builder's policy is one round and no more.
    let connecting = stage.builder_for(urls.join(";")).connect();
    let connection: Connection =
        within(Duration::from_secs(15), "the third URL", connecting).await??;
    connection.declare_queue(&stage.queue("work")).await?;
    Ok(connection.close().await?)
}

async fn failover_to_nobody_names_all_three(stage: &Stage) -> Outcome {
    let ports = [address::closed_port()?, address::closed_port()?, address::closed_port()?];
    let urls = ports.map(|port| address::with_port(stage.url(), port));
    let connection = stage.builder_for(urls.join(";")).build()?;
    let error = refused(
        soon("three closed ports", connection.connect()).await?,
        &[ErrorKind::ConnectionLost],
    )?;
    says_where(stage, &format!("{error:?}"), &ports);
    assert!(matches!(connection.state(), ConnectionState::Failed(_)), "{:?}", connection.state());
    // Its next use is a new attempt, with the same answer and not the one of a closed connection.
    let queue = Queue::new(stage.name("work"));
    refused(connection.declare_queue(&queue).await, &[ErrorKind::ConnectionLost])?;
    Ok(())
}

/// Checks that an error names addresses, and not the password of the URL.
fn says_where(stage: &Stage, shown: &str, ports: &[u16]) {
    for port in ports {
        assert!(shown.contains(&port.to_string()), "it does not name port {port}: {shown}");
    }
    let url = kombu_core::BrokerUrl::parse(stage.url());
    if let Ok(Some(password)) = url.as_ref().map(kombu_core::BrokerUrl::password) {
        let secret = format!(":{}@", password.expose());
        assert!(!shown.contains(&secret), "the password is shown: {shown}");
    }
}
