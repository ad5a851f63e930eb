//! The keys.
//!
//! ```text
//! <prefix>queues/<queue>                          a declared queue
//! <prefix>index/<queue>/m/<9 - priority>/<id>     a message: the value is the length of its body
//! <prefix>index/<queue>/c/<9 - priority>/<id>     a claim: it goes with the lease of its owner
//! <prefix>bodies/<queue>/<id>                     the body
//! <prefix>exchanges/<exchange>                    an exchange
//! <prefix>exchanges/<exchange>/<binding>          a binding of it
//! ```
//!
//! Messages of one priority are in the order of the revisions that made their keys. Watches cover
//! the index of a queue, and never bodies.

use kombu_core::{Error, ErrorKind, Result};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// The largest request that servers take unless they are told otherwise.
const REQUEST: usize = 3 * 512 * 1024;

/// The largest envelope: a request without the longest keys.
pub(crate) const LARGEST: usize = REQUEST - 16 * 1024;

/// The longest name of a queue or an exchange, in bytes.
const LONGEST_NAME: usize = 1024;

/// The most operations in one transaction; servers take 128, with those inside of it.
pub(crate) const OPERATIONS: usize = 100;

/// Makes keys.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
}

/// The place of a message in its queue: the order of the fields is that of delivery.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place {
    /// 9 minus the priority.
    pub(crate) rank: u8,
    /// The revision that made it.
    pub(crate) revision: i64,
    pub(crate) id: String,
}

/// What a key in the index of a queue is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Entry {
    Claim,
    Message,
}

impl Keys {
    pub(crate) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(crate) fn queue(&self, queue: &str) -> String {
        format!("{}queues/{}", self.prefix, encode(queue))
    }

    /// The index of a queue, its slash included.
    pub(crate) fn index(&self, queue: &str) -> String {
        format!("{}index/{}/", self.prefix, encode(queue))
    }

    /// All messages of a queue.
    pub(crate) fn messages(&self, queue: &str) -> String {
        format!("{}m/", self.index(queue))
    }

    /// All claims of a queue.
    pub(crate) fn claims(&self, queue: &str) -> String {
        format!("{}c/", self.index(queue))
    }

    pub(crate) fn message(&self, queue: &str, rank: u8, id: &str) -> String {
        format!("{}{rank}/{id}", self.messages(queue))
    }

    pub(crate) fn claim(&self, queue: &str, rank: u8, id: &str) -> String {
        format!("{}{rank}/{id}", self.claims(queue))
    }

    /// All bodies of a queue.
    pub(crate) fn bodies(&self, queue: &str) -> String {
        format!("{}bodies/{}/", self.prefix, encode(queue))
    }

    pub(crate) fn body(&self, queue: &str, id: &str) -> String {
        format!("{}{id}", self.bodies(queue))
    }

    /// All exchanges.
    pub(crate) fn exchanges(&self) -> String {
        format!("{}exchanges/", self.prefix)
    }

    pub(crate) fn exchange(&self, exchange: &str) -> String {
        format!("{}{}", self.exchanges(), encode(exchange))
    }

    pub(crate) fn binding(&self, exchange: &str, binding: &str) -> String {
        format!("{}/{}", self.exchange(exchange), encode(binding))
    }
}

/// Reads a key below the index of a queue: what it is about, its rank and its id.
pub(crate) fn read_entry<'k>(index: &str, key: &'k [u8]) -> Option<(Entry, u8, &'k str)> {
    let rest = std::str::from_utf8(key).ok()?.strip_prefix(index)?;
    let (kind, rest) = rest.split_once('/')?;
    let (rank, id) = rest.split_once('/')?;
    let entry = match kind {
        "c" => Entry::Claim,
        "m" => Entry::Message,
        _ => return None,
    };
    Some((entry, rank.parse().ok()?, id))
}

/// Checks the name of a queue or an exchange.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    if name.len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidArgument,
        format!("the name of {what} has more than {LONGEST_NAME} bytes"),
    ))
}

/// Any text as one part of a key.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, UNSAFE).to_string()
}

/// The text that a part of a key stands for.
pub(crate) fn decode(part: &str) -> Option<String> {
    percent_decode_str(part).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// What is not written as it is. Letters beyond ASCII are encoded, too.
const UNSAFE: &AsciiSet = &CONTROLS.add(b'%').add(b'/');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back() {
        let keys = Keys::new("kombu/");
        for queue in ["q", "a/b", "50%", "ä"] {
            let index = keys.index(queue);
            let message = keys.message(queue, 9, "id-1");
            assert_eq!(read_entry(&index, message.as_bytes()), Some((Entry::Message, 9, "id-1")));
            let claim = keys.claim(queue, 0, "id-2");
            assert_eq!(read_entry(&index, claim.as_bytes()), Some((Entry::Claim, 0, "id-2")));
        }
        assert_eq!(read_entry("kombu/index/q/", b"kombu/index/q/x/9/y"), None);
        assert_eq!(read_entry("kombu/index/q/", b"kombu/index/qq/m/9/y"), None);
    }

    #[test]
    fn urgent_messages_come_first_and_then_older_ones() {
        let place = |rank, revision, id: &str| Place { rank, revision, id: id.to_owned() };
        let mut places = [place(9, 3, "b"), place(9, 3, "a"), place(9, 2, "z"), place(0, 9, "x")];
        places.sort();
        let ids: Vec<_> = places.iter().map(|place| place.id.as_str()).collect();
        assert_eq!(ids, ["x", "z", "a", "b"]);
    }
}
