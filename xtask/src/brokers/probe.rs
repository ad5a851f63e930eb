//! Questions to a broker that show whether it serves: one attempt each, no waiting.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a single attempt may take.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Connects to a port of this machine.
pub(crate) fn connect(port: u16) -> Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, ATTEMPT)
        .with_context(|| format!("port {port} refuses connections"))?;
    stream.set_read_timeout(Some(ATTEMPT))?;
    stream.set_write_timeout(Some(ATTEMPT))?;
    Ok(stream)
}

/// Opens an AMQP 0-9-1 handshake and returns the version in the server's greeting.
///
/// Only a server that has finished starting greets; an open port alone would not prove that.
pub(crate) fn amqp_version(port: u16) -> Result<String> {
    let mut stream = connect(port)?;
    stream.write_all(b"AMQP\x00\x00\x09\x01")?;
    // A frame is its type, a channel, its length, that many bytes and an end mark.
    let mut header = [0; 7];
    stream.read_exact(&mut header).context("no greeting")?;
    let [1, _, _, a, b, c, d] = header else {
        bail!("not an AMQP greeting: {header:?}");
    };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d]))?;
    if length > 65_536 {
        bail!("a greeting of {length} bytes");
    }
    let mut greeting = vec![0; length];
    stream.read_exact(&mut greeting)?;
    // In the table of server properties: a short name, `S` for a long string, its length, its text.
    let mark = b"\x07versionS";
    let at = greeting
        .windows(mark.len())
        .position(|window| window == mark)
        .context("the greeting names no version")?
        + mark.len();
    let length = greeting
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_be_bytes)
        .context("the greeting ends early")?;
    let version = greeting
        .get(at + 4..at + 4 + usize::try_from(length)?)
        .context("the greeting ends early")?;
    Ok(String::from_utf8_lossy(version).into_owned())
}

/// Asks an HTTP server for a path and returns the status and the body.
pub(crate) fn http_get(port: u16, path: &str, basic: &str) -> Result<(u16, String)> {
    let mut stream = connect(port)?;
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Basic {basic}\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).context("no HTTP status")?.parse()?;
    Ok((status, body.to_owned()))
}

/// Repeats an attempt until it succeeds, and gives its last error when the limit has passed.
pub(crate) fn until<T>(limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > deadline => {
                return Err(error.context(format!("still not so after {limit:?}")));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
