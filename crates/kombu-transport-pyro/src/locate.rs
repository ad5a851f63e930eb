//! Finds the broker: asks the name server where it is, and greets it there.

use kombu_core::{Error, ErrorKind, Result, Scope};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::call::{self, Argument};
use crate::frame::Decoder;
use crate::session::{Place, Session};
use crate::settings::Settings;

/// The broker object: where it is, and its name there.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Target {
    pub(crate) place: Place,
    pub(crate) object: String,
}

/// `Pyro4.core.URI`.
#[derive(Deserialize)]
struct Uri {
    state: (String, String, Option<String>, Option<String>, Option<u16>),
}

/// A session with the broker, and its name in its daemon.
pub(crate) async fn broker(settings: &Settings) -> Result<(Session, String)> {
    let deadline = Instant::now() + settings.connect_timeout;
    let late = |who: String| {
        Error::lost(format!("{who} has not answered within {:?}", settings.connect_timeout))
    };
    let server = &settings.name_server;
    let asked = timeout_at(deadline, look_up(settings)).await;
    let asked = asked.unwrap_or_else(|_elapsed| Err(late("it".to_owned())));
    let target = asked.map_err(|error| error.with("name_server", server))?;
    let decoder = Decoder { limit: settings.limit, key: settings.key.clone() };
    let opening = Session::open(&target.place, &target.object, METHODS, decoder);
    let opened = timeout_at(deadline, opening).await;
    let opened = opened.unwrap_or_else(|_elapsed| Err(late("it".to_owned())));
    let session = opened.map_err(|error| {
        error.with("daemon", &target.place).with("name", &settings.name).with("name_server", server)
    })?;
    Ok((session, target.object))
}

async fn look_up(settings: &Settings) -> Result<Target> {
    let decoder = Decoder { limit: NAMES_LIMIT, key: settings.name_server_key.clone() };
    let methods = &["lookup"];
    let mut session = Session::open(&settings.name_server, NAME_SERVER, methods, decoder).await?;
    let name = &settings.name;
    let answer = session.call(NAME_SERVER, "lookup", &[Argument::Text(name)]).await?;
    match answer {
        Ok(data) => target(&data, &settings.name_server),
        // It may be there in a moment: whoever starts both begins with the name server.
        Err(refusal) if refusal.is_unknown_name() => Err(Error::lost(format!(
            "the name server has no {name:?}: start the broker, as by \
             `python -m kombu.transport.pyro`, or write its name as the path of the URL"
        ))),
        Err(refusal) => Err(refusal.into_error().scoped(Scope::Connection)),
    }
}

/// Reads where an object is.
fn target(data: &[u8], name_server: &Place) -> Result<Target> {
    let Uri { state: (protocol, object, socket, host, port) } = call::value("lookup", data)?;
    let wrong =
        |message: String| Error::new(ErrorKind::Protocol, message).scoped(Scope::Connection);
    if protocol != "PYRO" {
        return Err(wrong(format!("the name stands for a {protocol} address, not a PYRO one")));
    }
    let place = match (socket, host, port) {
        (Some(path), ..) if !path.is_empty() => Place::Unix(path.into()),
        (_, Some(host), Some(port)) => match (host.as_str(), name_server) {
            // It listens everywhere, hence where its name server does.
            ("0.0.0.0" | "::", Place::Tcp(known, _)) => Place::Tcp(known.clone(), port),
            _ => Place::Tcp(host, port),
        },
        _ => return Err(wrong("the name stands for an address without a place".to_owned())),
    };
    Ok(Target { place, object })
}

/// The object that name servers are.
const NAME_SERVER: &str = "Pyro.NameServer";
/// The most bytes of a name server's answer.
const NAMES_LIMIT: usize = 1 << 20;
/// What the broker object must be able to do (`kombu.transport.pyro.KombuBroker`). Its `purge`
/// does not work, and is not used.
const METHODS: &[&str] =
    &["get_queue_names", "new_queue", "has_queue", "get", "put", "size", "delete"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let server = Place::Tcp("ns".to_owned(), 9090);
        let tcp = |host: &str, port| Place::Tcp(host.to_owned(), port);
        for (state, place) in [
            (r#"["PYRO", "o", null, "h", 7]"#, tcp("h", 7)),
            (r#"["PYRO", "o", null, "0.0.0.0", 7]"#, tcp("ns", 7)),
            (r#"["PYRO", "o", "/run/x", null, null]"#, Place::Unix("/run/x".into())),
        ] {
            let data = format!("{{\"__class__\": \"Pyro4.core.URI\", \"state\": {state}}}");
            let object = "o".to_owned();
            assert_eq!(target(data.as_bytes(), &server).unwrap(), Target { place, object });
        }
        for wrong in [
            r#"{"state": ["PYRONAME", "o", null, "h", 7]}"#,
            r#"{"state": ["PYRO", "o", null, null, null]}"#,
            r#"{"state": ["PYRO", "o", null, "h", 70000]}"#,
            "null",
        ] {
            assert!(target(wrong.as_bytes(), &server).is_err(), "{wrong}");
        }
    }
}
