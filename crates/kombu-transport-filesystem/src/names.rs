//! The names of files, and which names of queues and exchanges fit into them.

use std::fmt::{self, Write as _};

use kombu_core::{Error, ErrorKind, Result};
use kombu_virtual::envelope::{MAX_PRIORITY, new_tag};

use crate::clock;

/// What stands before the first dot in the name of a message file, in the order in which messages
/// are served.
///
/// Kombu writes `<milliseconds>_<uuid>.<queue>.msg` and reads in the order of the text, whatever
/// stands before the first dot. So there is room for two things more, which Kombu's order obeys: a
/// priority above 0 makes `-<9 - priority>_` the start, which sorts before all digits; and `_r<n>`
/// at the end says how often the message was delivered.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Stem {
    /// 9 less the priority.
    rank: u8,
    /// As a number: Kombu's text order fails where the number of digits grows.
    millis: u64,
    rest: Box<str>,
}

impl Stem {
    /// A name for a new message, behind all others of its priority that this process has named.
    pub(crate) fn new(priority: u8) -> Self {
        // Rounded as Python does; what is below a millisecond is the start of the UUID, so that
        // messages of one millisecond are in order too.
        let rounded = clock::next().saturating_add(500_000);
        let below = rounded % 1_000_000;
        let mut rest = format!("{below:05x}");
        rest.push_str(new_tag().get(rest.len()..).unwrap_or_default());
        let rank = MAX_PRIORITY - priority.min(MAX_PRIORITY);
        Self { rank, millis: rounded / 1_000_000, rest: rest.into() }
    }

    /// The parts of a message file's name: its stem's text, and the queue.
    pub(crate) fn split(file: &str) -> Option<(&str, &str)> {
        let (stem, rest) = file.split_once('.')?;
        Some((stem, rest.strip_suffix(".msg").filter(|queue| !queue.is_empty())?))
    }

    /// Reads a stem; any text is one.
    pub(crate) fn parse(text: &str) -> Self {
        let ranked = text.strip_prefix('-').and_then(|text| text.split_once('_'));
        let ranked = ranked.and_then(|(rank, rest)| match rank.as_bytes() {
            [digit @ b'0'..=b'8'] => Some((digit - b'0', rest)),
            _ => None,
        });
        let (rank, rest) = ranked.unwrap_or((PLAIN, text));
        let timed = rest.split_once('_').and_then(|(millis, rest)| {
            let digits = millis.bytes().all(|byte| byte.is_ascii_digit());
            let millis = millis.parse().ok().filter(|_| digits && !millis.starts_with('0'))?;
            Some((millis, rest))
        });
        match timed {
            Some((millis, rest)) if millis < UNTIMED => Self { rank, millis, rest: rest.into() },
            // Somebody's own name: last, in the order of the text.
            _ => Self { rank: PLAIN, millis: UNTIMED, rest: text.into() },
        }
    }

    /// The name of the file of a message of that queue.
    pub(crate) fn file(&self, queue: &str) -> String {
        let mut file = String::with_capacity(queue.len() + 64);
        let _infallible = write!(file, "{self}.{queue}.msg");
        file
    }

    /// How often the message was delivered.
    pub(crate) fn deliveries(&self) -> u32 {
        self.counted().map_or(0, |(_, count)| count)
    }

    /// The same place in the queue, for a message that was delivered once more.
    pub(crate) fn redelivered(&self) -> Self {
        let (rest, count) = self.counted().unwrap_or((&self.rest, 0));
        let count = count.saturating_add(1).min(MOST_DELIVERIES);
        Self { rest: format!("{rest}_r{count}").into(), ..self.clone() }
    }

    fn counted(&self) -> Option<(&str, u32)> {
        let (rest, count) = self.rest.rsplit_once("_r")?;
        Some((rest, count.parse().ok()?))
    }
}

impl fmt::Display for Stem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rank < PLAIN {
            write!(f, "-{}_", self.rank)?;
        }
        if self.millis < UNTIMED {
            write!(f, "{}_", self.millis)?;
        }
        f.write_str(&self.rest)
    }
}

/// Checks that a queue's name can be part of a file's name, which it never leaves.
pub(crate) fn check_queue(queue: &str) -> Result<()> {
    if let Some(letter) = queue.chars().find(|letter| FORBIDDEN.contains(letter)) {
        return Err(wrong(format!(
            "queue name {queue:?} has a {letter:?}, which the name of a file cannot have, and \
             Kombu's messages have the name of their queue in that of their file"
        )));
    }
    if queue.len() > LONGEST_QUEUE {
        return Err(wrong(format!(
            "a queue name of {} bytes is too long: with what stands beside it, the name of a file \
             has room for {LONGEST_QUEUE}",
            queue.len()
        )));
    }
    Ok(())
}

/// Checks an exchange's name by Kombu's rule (`kombu/transport/filesystem.py`).
pub(crate) fn check_exchange(exchange: &str) -> Result<()> {
    let allowed =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-');
    if let Some(letter) = exchange.chars().find(|letter| !allowed(*letter)) {
        return Err(wrong(format!(
            "exchange name {exchange:?} has a {letter:?}; Kombu takes ASCII letters, digits, '.', \
             '_' and '-' here, since the name is that of a file"
        )));
    }
    if !exchange.is_empty() && exchange.bytes().all(|byte| byte == b'.') {
        return Err(wrong(format!("exchange name {exchange:?} is only dots, which name folders")));
    }
    let start = exchange.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let numbered = start.strip_prefix("COM").or_else(|| start.strip_prefix("LPT"));
    let port = numbered.is_some_and(|number| matches!(number.as_bytes(), [b'1'..=b'9']));
    if port || DEVICES.contains(&start.as_str()) {
        return Err(wrong(format!(
            "exchange name {exchange:?} is that of a device on Windows, which Kombu refuses"
        )));
    }
    if exchange.len() > LONGEST_EXCHANGE {
        return Err(wrong(format!(
            "an exchange name of {} bytes is too long: the name of a file has room for \
             {LONGEST_EXCHANGE}",
            exchange.len()
        )));
    }
    Ok(())
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// The rank of priority 0.
const PLAIN: u8 = MAX_PRIORITY;

/// In place of the milliseconds of names that have none.
const UNTIMED: u64 = u64::MAX;

/// What keeps the counter at five digits.
const MOST_DELIVERIES: u32 = 99_999;

/// What 255 bytes leave beside `-0_`, 14 digits, `_`, a UUID, `_r`, 5 digits, `.` and `.msg`.
const LONGEST_QUEUE: usize = 189;

/// What 255 bytes leave beside `.exchange`.
const LONGEST_EXCHANGE: usize = 246;

#[cfg(not(windows))]
const FORBIDDEN: &[char] = &['/', '\0'];
#[cfg(windows)]
const FORBIDDEN: &[char] = &['/', '\0', '\\', ':', '*', '?', '"', '<', '>', '|'];

/// Devices on Windows with names of letters.
const DEVICES: [&str; 4] = ["AUX", "CON", "NUL", "PRN"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kombu() {
        let file = Stem::new(0).file("a.b");
        let (stem, queue) = Stem::split(&file).unwrap();
        assert_eq!(queue, "a.b");
        let (millis, uuid) = stem.split_once('_').unwrap();
        assert!(millis.bytes().all(|byte| byte.is_ascii_digit()), "{file}");
        assert_eq!((uuid.len(), uuid.as_bytes()[14]), (36, b'4'), "{file}");
    }

    #[test]
    fn any_stem_stays_as_it_is_written() {
        for text in
            ["12_x", "-3_12_x_r4", "007_x", "-9_1_x", "-_1", "", "x", "99999999999999999999_x"]
        {
            assert_eq!(Stem::parse(text).to_string(), text);
        }
    }

    #[test]
    fn order_is_priority_then_time_as_a_number() {
        let texts = ["-0_500_x", "-8_1_x", "999_x", "1000_x", "1000_x_r1", "1000_y", "other"];
        let stems: Vec<_> = texts.iter().map(|text| Stem::parse(text)).collect();
        assert!(stems.is_sorted(), "{stems:?}");
        // Where the digits are as many, Python's order of texts is the same.
        let same = ["-0_500_x", "-8_1_x", "1000_x", "1000_x_r1", "1000_y", "other"];
        assert!(same.is_sorted());
    }

    #[test]
    fn new_names_are_in_the_order_of_their_making_for_python_too() {
        let texts: Vec<_> = (0..1000).map(|_| Stem::new(0).to_string()).collect();
        assert!(texts.is_sorted());
        assert!(Stem::new(5) < Stem::parse(&texts[0]));
        assert!(Stem::new(5).to_string() < texts[0]);
        assert!(Stem::new(9) < Stem::new(5));
    }

    #[test]
    fn deliveries_are_counted_without_losing_the_place() {
        let stem = Stem::parse("-4_17_uuid");
        let twice = stem.redelivered().redelivered();
        assert_eq!(twice.to_string(), "-4_17_uuid_r2");
        assert_eq!((stem.deliveries(), twice.deliveries()), (0, 2));
        assert!(twice < Stem::parse("-4_18_uuid"));
    }

    #[test]
    fn the_queue_is_what_follows_the_first_dot() {
        assert_eq!(Stem::split("1_x.a.b.msg"), Some(("1_x", "a.b")));
        assert_eq!(Stem::split("1_x....msg"), Some(("1_x", "..")));
        for other in ["1_x.msg", "1_x..msg", ".claimed", "1_x.a.msg.draft", "x"] {
            assert_eq!(Stem::split(other), None, "{other}");
        }
    }

    #[test]
    fn queue_names_cannot_leave_the_folder() {
        for queue in ["a/b", "../x", "/etc/passwd", "a\0b"] {
            let error = check_queue(queue).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(error.to_string().contains("name of a file cannot have"), "{error}");
        }
        assert!(check_queue(&"x".repeat(190)).unwrap_err().to_string().contains("room for 189"));
        for queue in ["..", "a b", "ä€", "new\nline", &"x".repeat(189)] {
            check_queue(queue).unwrap();
            let longest = Stem { rank: 0, millis: 99_999_999_999_999, rest: new_tag().into() };
            let mut longest = longest;
            for _ in 0..3 {
                longest = Stem { rest: format!("{}_r99999", new_tag()).into(), ..longest };
            }
            assert!(longest.redelivered().file(queue).len() <= 255);
        }
    }

    #[test]
    fn exchange_names_are_those_that_kombu_takes() {
        for exchange in ["", "media", "a.b-c_D9", "com0", "console"] {
            check_exchange(exchange).unwrap();
        }
        for exchange in ["a/b", "..", "...", "ä", "a b", "con", "NUL.x", "lpt1.a", &"x".repeat(250)]
        {
            let error = check_exchange(exchange).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{exchange}");
        }
    }
}
