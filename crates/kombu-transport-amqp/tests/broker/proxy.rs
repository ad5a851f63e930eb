//! Something between this side and the broker, which can freeze or cut single connections.

use std::sync::{Arc, Mutex};

use kombu_core::BrokerUrl;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::stage::variable;

/// A way to the broker.
pub(crate) struct Proxy {
    pub(crate) url: String,
    connections: Arc<Mutex<Vec<watch::Sender<State>>>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    Open,
    Frozen,
    Cut,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        let broker = BrokerUrl::parse(&variable("URL")).unwrap();
        let to = (broker.host().unwrap().to_owned(), broker.port().unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = variable("URL").replacen(
            &format!("{}:{}", to.0, to.1),
            &format!("127.0.0.1:{port}"),
            1,
        );
        let connections: Arc<Mutex<Vec<watch::Sender<State>>>> = Arc::default();
        let accepted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((here, _)) = listener.accept().await {
                let there = TcpStream::connect(&to).await.unwrap();
                let (from_here, to_here) = here.into_split();
                let (from_there, to_there) = there.into_split();
                let state = watch::Sender::new(State::Open);
                tokio::spawn(pass(from_here, to_there, state.subscribe()));
                tokio::spawn(pass(from_there, to_here, state.subscribe()));
                accepted.lock().unwrap().push(state);
            }
        });
        Self { url, connections }
    }

    /// How many connections there have been.
    pub(crate) fn count(&self) -> usize {
        self.connections.lock().unwrap().len()
    }

    /// Passes nothing on any more, either way, of the connection with that number.
    pub(crate) fn freeze(&self, number: usize) {
        self.connections.lock().unwrap()[number].send_replace(State::Frozen);
    }

    /// Ends the connection with that number.
    pub(crate) fn cut(&self, number: usize) {
        self.connections.lock().unwrap()[number].send_replace(State::Cut);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut bytes = vec![0; 65_536];
    loop {
        let count = tokio::select! {
            biased;
            _cut = state.wait_for(|state| *state == State::Cut) => return,
            count = from.read(&mut bytes) => count,
        };
        if state.wait_for(|state| *state != State::Frozen).await.is_err() {
            return;
        }
        match count {
            Ok(count) if count > 0 && to.write_all(&bytes[..count]).await.is_ok() => {}
            _ended => return,
        }
    }
}
