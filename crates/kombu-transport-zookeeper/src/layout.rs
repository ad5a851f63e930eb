//! Where everything is, as paths below the virtual host.
//!
//! ```text
//! /<queue>/entry-<9 - priority>-<number>          a message, as Kombu has it
//! /_kombu/owners/<owner>                          a connection: ephemeral
//! /_kombu/claims/<owner>/<queue>:<entry>          a message that it holds
//! /_kombu/exchanges/<exchange>/<binding>          who gets the messages of an exchange
//! ```
//!
//! A consumer of Python's Kombu takes every child of a queue for a message, so nothing else may be
//! there.

use std::borrow::Cow;

use kombu_core::{Error, ErrorKind, Result};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Everything of this transport.
pub(crate) const ROOT: &str = "/_kombu";
pub(crate) const OWNERS: &str = "/_kombu/owners";
pub(crate) const CLAIMS: &str = "/_kombu/claims";
pub(crate) const EXCHANGES: &str = "/_kombu/exchanges";

/// What the names of messages begin with.
pub(crate) const ENTRY: &str = "entry-";

/// The longest name of a queue or an exchange, in bytes.
pub(crate) const LONGEST_NAME: usize = 1024;

/// The largest packet that servers take unless they are told otherwise, `jute.maxbuffer`.
const PACKET: usize = 1_048_575;

/// The largest envelope: a packet without the longest paths and the ACL of a claim.
pub(crate) const LARGEST: usize = PACKET - 8 * 1024;

/// The node of a queue.
pub(crate) fn queue(name: &str) -> Result<String> {
    let refuse = |why: &str| {
        Err(Error::new(ErrorKind::InvalidArgument, format!("a queue cannot be named so: {why}"))
            .with("queue", format!("{name:.80?}")))
    };
    if name.len() > LONGEST_NAME {
        return refuse("it has more than 1024 bytes");
    }
    if name.contains('/') {
        return refuse("a slash would put it into another queue, as a message of that");
    }
    if matches!(name, "." | "..") {
        return refuse("the servers take no path with such a part");
    }
    if matches!(name, "_kombu" | "zookeeper") {
        return refuse("the name is taken");
    }
    if name.chars().any(is_refused) {
        return refuse("it has control or private characters, which the servers refuse");
    }
    Ok(format!("/{name}"))
}

/// What servers refuse in paths.
fn is_refused(letter: char) -> bool {
    matches!(letter, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}')
}

/// What stands before the number of a message of a priority.
pub(crate) fn entry_prefix(queue: &str, priority: u8) -> String {
    format!("{queue}/{ENTRY}{:03}-", 9 - priority.min(9))
}

/// The node of an exchange.
pub(crate) fn exchange(name: &str) -> Result<String> {
    if name.len() > LONGEST_NAME {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "the name of an exchange has more than 1024 bytes",
        ));
    }
    Ok(format!("{EXCHANGES}/{}", encode(name)))
}

/// A claim's name.
pub(crate) fn claim(queue: &str, entry: &str) -> String {
    format!("{}:{entry}", encode(queue))
}

/// The queue and the entry that a claim's name says.
pub(crate) fn read_claim(name: &str) -> Option<(String, &str)> {
    let (queue, entry) = name.split_once(':')?;
    Some((decode(queue)?, entry))
}

/// Any text as the name of one node.
pub(crate) fn encode(text: &str) -> String {
    let encoded = utf8_percent_encode(text, UNSAFE).to_string();
    if encoded.bytes().all(|byte| byte == b'.') { encoded.replace('.', "%2E") } else { encoded }
}

/// The text that a node's name stands for.
pub(crate) fn decode(name: &str) -> Option<String> {
    percent_decode_str(name).decode_utf8().ok().map(Cow::into_owned)
}

/// What is not written as it is. Letters beyond ASCII are encoded, too.
const UNSAFE: &AsciiSet = &CONTROLS.add(b'%').add(b'/').add(b':');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for text in ["q", "a/b", "a:b", "50%", ".", "..", "ä", "\n", "{\"key\": \"a.b\"}"] {
            let name = encode(text);
            assert!(!name.contains(['/', ':']) && !name.chars().all(|c| c == '.'), "{name}");
            assert_eq!(decode(&name).as_deref(), Some(text));
            let claim = claim(text, "entry-009-0000000001");
            let entry = "entry-009-0000000001";
            assert_eq!(read_claim(&claim), Some((text.to_owned(), entry)));
        }
    }

    #[test]
    fn the_highest_priority_sorts_first() {
        assert_eq!(entry_prefix("/q", 9), "/q/entry-000-");
        assert_eq!(entry_prefix("/q", 0), "/q/entry-009-");
        assert_eq!(entry_prefix("/q", 200), "/q/entry-000-");
    }

    #[test]
    fn names_that_the_servers_refuse_are_refused_with_a_reason() {
        for name in ["a/b", "/a", ".", "..", "_kombu", "zookeeper", "a\n", &"x".repeat(1025)] {
            let error = queue(name).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name}");
        }
        assert_eq!(queue("celery@host.pidbox ä").unwrap(), "/celery@host.pidbox ä");
    }
}
