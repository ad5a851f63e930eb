//! Connecting, and being refused.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use kombu_core::{ErrorKind, Queue, Scope};

use crate::cases;
use crate::stage::{self, Case, Stage, connect, refused, soon, variable};

pub(crate) fn cases() -> Vec<Case> {
    cases![
        a_connection_says_what_the_broker_is,
        a_wrong_password_is_access_refused,
        an_unknown_vhost_is_named,
        a_vhost_without_permission_is_access_refused("ALICE_URL"),
        every_login_method_works("EXTERNAL_URL"),
        a_method_that_is_not_offered_is_named,
        a_closed_port_is_named,
        rubbish_is_named,
        a_silent_server_meets_the_deadline,
        a_server_that_hangs_up_is_no_hang,
        tls_works("TLS_URL"),
        tls_verifies_the_authority("TLS_URL"),
        tls_verifies_the_host_name("TLS_URL"),
        tls_and_plain_ports_are_told_apart("TLS_URL"),
        unknown_options_are_refused,
        closing_twice_is_no_error,
    ]
}

async fn a_connection_says_what_the_broker_is(stage: Stage) {
    let connection = stage.connect().await;
    let server = connection.server();
    assert_eq!(server.product, "RabbitMQ");
    assert!(server.version.starts_with(|first: char| first.is_ascii_digit()), "{server:?}");
    assert!(connection.capabilities().quorum_queues);
    connection.ping().await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(soon(connection.lost()).await.kind(), ErrorKind::Closed);
}

async fn a_wrong_password_is_access_refused(_stage: Stage) {
    let url = variable("URL").replacen(":guest@", ":wrong-secret@", 1);
    let error = refused(&url, &[]).await;
    assert_eq!((error.kind(), error.scope()), (ErrorKind::AccessRefused, Scope::Connection));
    assert!(!error.is_recoverable());
    let text = format!("{error} {error:?}");
    assert!(text.contains("ACCESS_REFUSED"), "{text}");
    assert!(!text.contains("wrong-secret"), "{text}");
}

async fn an_unknown_vhost_is_named(_stage: Stage) {
    let url = format!("{}nosuchvhost", variable("URL").trim_end_matches('/').to_owned() + "/");
    let error = refused(&url, &[]).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().contains("vhost nosuchvhost not found"), "{error}");
}

async fn a_vhost_without_permission_is_access_refused(_stage: Stage) {
    let url = variable("ALICE_URL");
    connect(&url, &[]).await.unwrap().close().await.unwrap();
    let error = refused(&url.replace("/second", "//"), &[]).await;
    assert_eq!(error.kind(), ErrorKind::AccessRefused, "{error}");
    assert!(error.to_string().contains("refused for user 'alice'"), "{error}");
}

async fn every_login_method_works(stage: Stage) {
    let publishes = async |url: &str, options: &[(&str, &str)]| {
        let connection = connect(url, options).await.unwrap();
        let channel = connection.open_channel().await.unwrap();
        let queue = stage.queue(&channel).await;
        stage::publish(&channel, stage::to_queue(&queue, stage::message("x"))).await.unwrap();
        connection.close().await.unwrap();
    };
    publishes(&variable("URL"), &[("login_method", "PLAIN")]).await;
    publishes(&variable("URL"), &[("login_method", "AMQPLAIN")]).await;
    publishes(&variable("EXTERNAL_URL"), &[]).await;
}

async fn a_method_that_is_not_offered_is_named(_stage: Stage) {
    let error = refused(&variable("URL"), &[("login_method", "EXTERNAL")]).await;
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}

async fn a_closed_port_is_named(_stage: Stage) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refused(&format!("amqp://127.0.0.1:{port}"), &[]).await;
    assert_eq!((error.kind(), error.scope()), (ErrorKind::ConnectionLost, Scope::Connection));
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

async fn rubbish_is_named(_stage: Stage) {
    for (answer, says) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "HTTP/1.1 400 Bad Request"),
        (b"AMQP\x00\x01\x00\x00", "offers 1.0.0"),
        (b"\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0a\xce", "does not speak AMQP 0-9-1"),
        (b"+OK", "does not speak AMQP 0-9-1"),
    ] {
        let error = refused(&serve(answer, true), &[]).await;
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
}

async fn a_silent_server_meets_the_deadline(_stage: Stage) {
    let error = refused(&serve(b"", false), &[("connect_timeout", "0.3")]).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert!(error.to_string().contains("cannot get the broker's greeting"), "{error}");
}

async fn a_server_that_hangs_up_is_no_hang(_stage: Stage) {
    let error = refused(&serve(b"", true), &[]).await;
    assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
    // A true greeting, and then nothing more.
    let mut start =
        b"\x01\x00\x00\x00\x00\x00\x1d\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x00".to_vec();
    start.extend(b"\x00\x00\x00\x05PLAIN\x00\x00\x00\x05en_US\xce");
    start[6] = u8::try_from(start.len() - 8).unwrap();
    let leaked: &'static [u8] = Box::leak(start.into_boxed_slice());
    let error = refused(&serve(leaked, true), &[]).await;
    assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
    let error = refused(&serve(leaked, false), &[("connect_timeout", "0.3")]).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}

async fn tls_works(stage: Stage) {
    let connection = connect(&variable("TLS_URL"), &[]).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    let queue = stage.queue(&channel).await;
    let body = vec![7; 300_000];
    stage::publish(&channel, stage::to_queue(&queue, stage::message(body.clone()))).await.unwrap();
    assert_eq!(stage::get(&channel, &queue).await.message.body, body);
    connection.close().await.unwrap();
}

async fn tls_verifies_the_authority(_stage: Stage) {
    let url = variable("TLS_URL");
    let error = refused(url.split('?').next().unwrap(), &[]).await;
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let unverified = connect(url.split('?').next().unwrap(), &[("ssl_cert_reqs", "none")]).await;
    unverified.unwrap().close().await.unwrap();
}

async fn tls_verifies_the_host_name(_stage: Stage) {
    let url = variable("TLS_URL");
    let error = refused(&url, &[("ssl_server_hostname", "wrong.example")]).await;
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(error.to_string().contains("wrong.example"), "{error}");
}

async fn tls_and_plain_ports_are_told_apart(_stage: Stage) {
    let plain = variable("URL").replace("amqp://", "amqps://");
    let error = refused(&plain, &[("ssl_cert_reqs", "none")]).await;
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert!(error.to_string().contains("plain port"), "{error}");
    let tls = variable("TLS_URL").replace("amqps://", "amqp://");
    let error = refused(tls.split('?').next().unwrap(), &[]).await;
    assert!(error.to_string().contains("amqps://") || error.to_string().contains("TLS"), "{error}");
}

async fn unknown_options_are_refused(_stage: Stage) {
    let error = refused(&variable("URL"), &[("visibility_timeout", "1")]).await;
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(error.to_string().contains("publish_window"), "{error}");
}

async fn closing_twice_is_no_error(stage: Stage) {
    let (connection, channel) = stage.channel().await;
    channel.close().await.unwrap();
    channel.close().await.unwrap();
    assert_eq!(soon(channel.lost()).await.kind(), ErrorKind::Closed);
    connection.close().await.unwrap();
    connection.close().await.unwrap();
    let error = connection.open_channel().await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let error = channel.declare_queue(&Queue::new("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
}

/// A server that answers so to everybody, and then hangs up or stays silent; its URL.
fn serve(answer: &'static [u8], hang_up: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let mut header = [0; 8];
            if socket.read_exact(&mut header).and_then(|()| socket.write_all(answer)).is_ok()
                && !hang_up
            {
                silent.push(socket);
            }
        }
    });
    format!("amqp://127.0.0.1:{port}")
}
