//! A connection that sends commands as they are: what these tests check must not be asked through
//! what they check.

use std::io;

use kombu_core::BrokerUrl;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// A connection.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: BufReader<TcpStream>,
}

impl Raw {
    /// Connects to the server in a variable.
    pub(crate) async fn connect(name: &str) -> io::Result<Self> {
        let url = BrokerUrl::parse(&crate::ground::url(name, "")).map_err(io::Error::other)?;
        let host = url.hosts().first().ok_or_else(|| io::Error::other("no host"))?;
        Self::to(host.name(), host.port().unwrap_or(6379)).await
    }

    /// Connects to a port.
    pub(crate) async fn to(host: &str, port: u16) -> io::Result<Self> {
        Ok(Self { stream: BufReader::new(TcpStream::connect((host, port)).await?) })
    }

    /// Sends a command and returns all texts and numbers of the answer, however deep they are.
    pub(crate) async fn ask(&mut self, words: &[&str]) -> io::Result<Vec<String>> {
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text += &format!("${}\r\n{word}\r\n", word.len());
        }
        self.stream.write_all(text.as_bytes()).await?;
        let mut leaves = Vec::new();
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            let mut line = String::new();
            if self.stream.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (kind, rest) = line.trim_end().split_at(1);
            match (kind, rest) {
                ("-", _) => return Err(io::Error::other(rest.to_owned())),
                ("*", "-1") | ("$", "-1") => {}
                ("*", count) => left += count.parse::<usize>().map_err(io::Error::other)?,
                ("$", length) => {
                    let length = length.parse::<usize>().map_err(io::Error::other)?;
                    let mut bytes = vec![0; length + 2];
                    self.stream.read_exact(&mut bytes).await?;
                    bytes.truncate(length);
                    leaves.push(String::from_utf8_lossy(&bytes).into_owned());
                }
                _ => leaves.push(rest.to_owned()),
            }
        }
        Ok(leaves)
    }

    /// The only number of an answer.
    pub(crate) async fn count(&mut self, words: &[&str]) -> io::Result<u64> {
        let answer = self.ask(words).await?;
        let number = answer.first().and_then(|text| text.parse().ok());
        number.ok_or_else(|| io::Error::other(format!("{words:?} gave {answer:?}")))
    }

    /// The numbers of the clients with a name.
    pub(crate) async fn clients(&mut self, name: &str) -> io::Result<Vec<String>> {
        let list = self.ask(&["CLIENT", "LIST"]).await?.concat();
        let named = list.lines().filter(|line| line.contains(&format!(" name={name} ")));
        Ok(named
            .filter_map(|line| line.split_whitespace().next()?.strip_prefix("id="))
            .map(str::to_owned)
            .collect())
    }
}
