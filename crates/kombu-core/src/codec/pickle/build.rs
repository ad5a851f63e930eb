//! What calls of known classes and functions stand for, and the value of it all.

use bytes::Bytes;

use crate::codec::MAX_DEPTH;
use crate::codec::budget::{Budget, weight};
use crate::codec::pickle::known::Known;
use crate::error::{Error, ErrorKind, Result};
use crate::value::moment::{Clock, Day, Offset};
use crate::value::tagged::{is_decimal, plain_hex};
use crate::value::{Table, Tag, Value};

/// The place of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Id(usize);

/// A piece of data. Others refer to it by its place, for it may be used many times and change
/// later.
#[derive(Debug)]
pub(super) enum Node {
    /// A timedelta, if it can be the offset of a time zone.
    Delta(Option<Offset>),
    Dict(Vec<(Id, Id)>),
    /// A list, a set or a deque.
    List(Vec<Id>),
    Name(Known),
    Plain(Value),
    Tuple(Vec<Id>),
    Uuid(Option<u128>),
    Zone(Offset),
}

/// All data of a pickle. Each operation adds one at most.
#[derive(Default)]
pub(super) struct Nodes(Vec<Node>);

impl Nodes {
    pub(super) fn add(&mut self, node: Node) -> Id {
        self.0.push(node);
        Id(self.0.len() - 1)
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.0[id.0]
    }

    pub(super) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.0[id.0]
    }

    /// About how many bytes a call with these arguments may copy.
    pub(super) fn weight(&self, arguments: Id) -> usize {
        let Node::Tuple(arguments) = self.node(arguments) else {
            return 0;
        };
        let weigh = |id: &Id| match self.node(*id) {
            Node::Dict(entries) => size_of_val(entries.as_slice()),
            Node::List(items) | Node::Tuple(items) => size_of_val(items.as_slice()),
            Node::Plain(value) => weight(value),
            _ => 0,
        };
        arguments.iter().map(weigh).sum()
    }

    /// The data that a call of a class or function makes.
    pub(super) fn call(&self, callee: Id, arguments: Id) -> Result<Node, &'static str> {
        let (Node::Name(known), Node::Tuple(arguments)) = (self.node(callee), self.node(arguments))
        else {
            return Err("something is called that is no class or function");
        };
        let made = match (known, arguments.as_slice()) {
            (Known::Bytearray | Known::Bytes, []) => Some(data(Vec::new())),
            (Known::Bytearray, [bytes]) => {
                self.data(*bytes).map(|bytes| Node::Plain(Value::Bytes(bytes.clone())))
            }
            (Known::Bytearray | Known::Encode, [text, encoding]) => self.latin1(*text, *encoding),
            (Known::Counter, [counts]) => match self.node(*counts) {
                Node::Dict(counts) => Some(Node::Dict(counts.clone())),
                _ => None,
            },
            (Known::Date, [state]) => self.date(*state),
            (Known::Datetime, [state]) => self.datetime(*state, None),
            (Known::Datetime, [state, zone]) => {
                self.zone(*zone).and_then(|offset| self.datetime(*state, Some(offset)))
            }
            (Known::Decimal, [text]) => self
                .text(*text)
                .filter(|text| is_decimal(text))
                .map(|text| Node::Plain(Value::Decimal(text.to_owned()))),
            (Known::Counter | Known::OrderedDict, []) => Some(Node::Dict(Vec::new())),
            // The factory, which is None or a built-in type, is of no use here.
            (Known::DefaultDict, [] | [_]) => Some(Node::Dict(Vec::new())),
            (Known::Deque | Known::Set, []) => Some(Node::List(Vec::new())),
            (Known::Deque | Known::Set, [items]) | (Known::Deque, [items, _]) => {
                match self.node(*items) {
                    Node::List(items) | Node::Tuple(items) => Some(Node::List(items.clone())),
                    _ => None,
                }
            }
            (Known::PytzOffset, [_, seconds, _, _]) => {
                let micros = self.int(*seconds).and_then(|seconds| seconds.checked_mul(1_000_000));
                micros.and_then(Offset::new).map(Node::Zone)
            }
            (Known::Reconstructor, [class, base, _]) => {
                match (self.node(*class), self.node(*base)) {
                    (Node::Name(Known::Uuid), Node::Name(Known::Object)) => Some(Node::Uuid(None)),
                    _ => None,
                }
            }
            (Known::Time, [state]) => self.time(*state, None),
            (Known::Time, [state, zone]) => {
                self.zone(*zone).and_then(|offset| self.time(*state, Some(offset)))
            }
            (Known::Timedelta, [days, seconds, micros]) => self.delta(*days, *seconds, *micros),
            (Known::Timezone, [delta] | [delta, _]) => match self.node(*delta) {
                Node::Delta(Some(offset)) => Some(Node::Zone(*offset)),
                _ => None,
            },
            (Known::Utc, []) => Some(Node::Zone(Offset::UTC)),
            (Known::Uuid, []) => Some(Node::Uuid(None)),
            (Known::Uuid, [text]) => self
                .text(*text)
                .and_then(plain_hex)
                .and_then(|hex| u128::from_str_radix(&hex, 16).ok())
                .map(|number| Node::Uuid(Some(number))),
            (Known::Getattr, [class, name]) => match (self.node(*class), self.text(*name)) {
                (Node::Name(Known::ZoneInfo), Some("_unpickle")) => {
                    Some(Node::Name(Known::ZoneInfoNamed))
                }
                _ => None,
            },
            (Known::ZoneInfoNamed, [name, _]) => match self.text(*name) {
                Some("UTC" | "Etc/UTC") => Some(Node::Zone(Offset::UTC)),
                Some(_) => {
                    return Err(
                        "a time has a time zone whose offset it does not state; send it in \
                                UTC",
                    );
                }
                None => None,
            },
            _ => None,
        };
        made.ok_or("a class or function is called with other arguments than Python writes")
    }

    /// Sets the state of an object that a call has made.
    pub(super) fn build(&mut self, object: Id, state: Id) -> Result<(), &'static str> {
        const REFUSED: &str = "an object is given a state that plain data does not have";
        let (Node::Uuid(_), Node::Dict(entries)) = (self.node(object), self.node(state)) else {
            return Err(REFUSED);
        };
        let number = entries.iter().find(|(name, _)| self.text(*name) == Some("int"));
        let number = number.and_then(|(_, number)| match self.node(*number) {
            Node::Plain(Value::Int(number)) => u128::try_from(*number).ok(),
            Node::Plain(Value::UInt(number)) => Some((*number).into()),
            Node::Plain(Value::Decimal(text)) => text.parse().ok(),
            _ => None,
        });
        *self.node_mut(object) = Node::Uuid(Some(number.ok_or(REFUSED)?));
        Ok(())
    }

    /// The value of a node and all that is in it.
    pub(super) fn value(&self, id: Id, depth: usize, budget: &mut Budget) -> Result<Value> {
        let failed = |what| Err(Error::new(ErrorKind::Decode, what));
        match self.node(id) {
            Node::Plain(value) => {
                budget.take_weight(weight(value))?;
                Ok(value.clone())
            }
            Node::List(items) | Node::Tuple(items) => {
                enter(depth)?;
                budget.take(0)?;
                let items = items.iter().map(|item| self.value(*item, depth + 1, budget));
                items.collect::<Result<_>>().map(Value::List)
            }
            Node::Dict(entries) => {
                enter(depth)?;
                budget.take(0)?;
                let mut table = Table::new();
                for (key, value) in entries {
                    let key = self.value(*key, depth + 1, budget)?.into_key();
                    let Some(key) = key else {
                        return failed("a key of a dict is neither a text nor a number");
                    };
                    table.insert(key, self.value(*value, depth + 1, budget)?);
                }
                Ok(Value::Table(table))
            }
            Node::Uuid(Some(number)) => Ok(Value::Tagged(Tag::Uuid, format!("{number:032x}"))),
            Node::Uuid(None) => failed("a UUID has no number"),
            Node::Delta(_) => failed("a timedelta has no value here; send its seconds"),
            Node::Zone(_) => failed("a time zone alone has no value here"),
            Node::Name(_) => failed("a class or function is no plain data"),
        }
    }

    fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Plain(value) => value.as_i64(),
            _ => None,
        }
    }

    fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Plain(value) => value.as_str(),
            _ => None,
        }
    }

    fn data(&self, id: Id) -> Option<&Bytes> {
        match self.node(id) {
            Node::Plain(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// Bytes that were written as the letters with their numbers.
    fn latin1(&self, text: Id, encoding: Id) -> Option<Node> {
        let (text, "latin1" | "latin-1") = (self.text(text)?, self.text(encoding)?) else {
            return None;
        };
        if text.is_ascii() {
            return Some(data(text.as_bytes().to_vec()));
        }
        text.chars().map(|letter| u8::try_from(letter).ok()).collect::<Option<Vec<_>>>().map(data)
    }

    fn date(&self, state: Id) -> Option<Node> {
        let [high, low, month, day] = self.data(state)?[..] else {
            return None;
        };
        let day = Day::new(u16::from_be_bytes([high, low]).into(), month.into(), day.into())?;
        Some(tagged(Tag::Date, day.to_string()))
    }

    fn datetime(&self, state: Id, offset: Option<Offset>) -> Option<Node> {
        let [high, low, month, day, rest @ ..] = &self.data(state)?[..] else {
            return None;
        };
        // The highest bit of the month says which of two equal times of a clock that was put
        // back is meant; a text has no place for it.
        let year = u16::from_be_bytes([*high, *low]);
        let day = Day::new(year.into(), (month & 0x7f).into(), (*day).into())?;
        Some(tagged(Tag::Datetime, format!("{day}T{}", clock(rest, offset)?)))
    }

    fn time(&self, state: Id, offset: Option<Offset>) -> Option<Node> {
        let [hour, rest @ ..] = &self.data(state)?[..] else {
            return None;
        };
        let state = [&[hour & 0x7f], rest].concat();
        Some(tagged(Tag::Time, clock(&state, offset)?.to_string()))
    }

    fn delta(&self, days: Id, seconds: Id, micros: Id) -> Option<Node> {
        let (days, seconds, micros) = (self.int(days)?, self.int(seconds)?, self.int(micros)?);
        let sum = days.checked_mul(86_400).and_then(|sum| sum.checked_add(seconds));
        let sum = sum.and_then(|sum| sum.checked_mul(1_000_000));
        let offset = sum.and_then(|sum| sum.checked_add(micros)).and_then(Offset::new);
        Some(Node::Delta(offset))
    }

    fn zone(&self, id: Id) -> Option<Offset> {
        match self.node(id) {
            Node::Zone(offset) => Some(*offset),
            _ => None,
        }
    }
}

fn clock(state: &[u8], offset: Option<Offset>) -> Option<Clock> {
    let [hour, minute, second, high, middle, low] = *state else {
        return None;
    };
    Clock::new(hour, minute, second, u32::from_be_bytes([0, high, middle, low]), offset)
}

fn data(bytes: Vec<u8>) -> Node {
    Node::Plain(Value::Bytes(bytes.into()))
}

fn tagged(tag: Tag, text: String) -> Node {
    Node::Plain(Value::Tagged(tag, text))
}

fn enter(depth: usize) -> Result<()> {
    match depth < MAX_DEPTH {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Decode,
            "it is nested too deep, more than 128 levels, or contains itself",
        )),
    }
}
