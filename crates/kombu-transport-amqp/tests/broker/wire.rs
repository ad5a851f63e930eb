//! A producer that writes header bytes as it is told, as no client crate would.

use kombu_core::BrokerUrl;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::stage::variable;

/// A connection with one channel.
pub(crate) struct Producer(tokio::sync::Mutex<TcpStream>);

impl Producer {
    pub(crate) async fn connect() -> Self {
        let url = BrokerUrl::parse(&variable("URL")).unwrap();
        let address = (url.host().unwrap().to_owned(), url.port().unwrap());
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"AMQP\x00\x00\x09\x01").await.unwrap();
        expect(&mut socket, 10, 10).await;
        let login = format!("\0{}\0{}", url.username().unwrap(), url.password().unwrap().expose());
        let mut start_ok = vec![0, 0, 0, 0];
        start_ok.extend(b"\x05PLAIN");
        start_ok.extend(u32::try_from(login.len()).unwrap().to_be_bytes());
        start_ok.extend(login.as_bytes());
        start_ok.extend(b"\x05en_US");
        method(&mut socket, 0, 10, 11, &start_ok).await;
        let tune = expect(&mut socket, 10, 30).await;
        method(&mut socket, 0, 10, 31, &[&tune[..6], b"\x00\x00"].concat()).await;
        let vhost = url.vhost().unwrap();
        let mut open = vec![u8::try_from(vhost.len()).unwrap()];
        open.extend(vhost.as_bytes());
        open.extend(b"\x00\x00");
        method(&mut socket, 0, 10, 40, &open).await;
        expect(&mut socket, 10, 41).await;
        method(&mut socket, 1, 20, 10, b"\x00").await;
        expect(&mut socket, 20, 11).await;
        Self(tokio::sync::Mutex::new(socket))
    }

    /// Publishes to a queue, with a header table of these bytes.
    pub(crate) async fn publish(&self, queue: &str, table: &[u8], body: &[u8]) {
        let mut socket = self.0.lock().await;
        let mut publish = vec![0, 0, 0, u8::try_from(queue.len()).unwrap()];
        publish.extend(queue.as_bytes());
        publish.push(0);
        method(&mut socket, 1, 60, 40, &publish).await;
        let mut header = vec![0, 60, 0, 0];
        header.extend((body.len() as u64).to_be_bytes());
        // Only the headers are there.
        header.extend(b"\x20\x00");
        header.extend(u32::try_from(table.len()).unwrap().to_be_bytes());
        header.extend(table);
        frame(&mut socket, 2, 1, &header).await;
        frame(&mut socket, 3, 1, body).await;
    }
}

async fn method(socket: &mut TcpStream, channel: u16, class: u16, id: u16, arguments: &[u8]) {
    let payload = [&class.to_be_bytes(), &id.to_be_bytes(), arguments].concat();
    frame(socket, 1, channel, &payload).await;
}

async fn frame(socket: &mut TcpStream, kind: u8, channel: u16, payload: &[u8]) {
    let mut bytes = vec![kind];
    bytes.extend(channel.to_be_bytes());
    bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend(payload);
    bytes.push(0xCE);
    socket.write_all(&bytes).await.unwrap();
}

/// Reads a frame with a method, and gives its arguments.
async fn expect(socket: &mut TcpStream, class: u16, id: u16) -> Vec<u8> {
    let mut header = [0; 7];
    socket.read_exact(&mut header).await.unwrap();
    let [_, _, _, size @ ..] = header;
    let mut payload = vec![0; u32::from_be_bytes(size) as usize + 1];
    socket.read_exact(&mut payload).await.unwrap();
    assert_eq!(&payload[..4], [class.to_be_bytes(), id.to_be_bytes()].concat());
    payload[4..payload.len() - 1].to_vec()
}
