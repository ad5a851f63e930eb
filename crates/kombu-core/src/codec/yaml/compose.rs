//! Values of the parser's events.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput};

use crate::codec::MAX_DEPTH;
use crate::codec::budget::{Budget, weight};
use crate::codec::yaml::scalar::Kind;
use crate::error::{Error, ErrorKind, Result};
use crate::value::{Table, Value};

/// Reads the one document of a text; without one it is null.
pub(super) fn read(text: &str) -> Result<Value> {
    let mut composer = Composer {
        events: Parser::new_from_str(text),
        anchors: HashMap::new(),
        budget: Budget::of(text.as_bytes()),
        line: 1,
    };
    composer.document()
}

struct Composer<'a> {
    events: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Anchored>,
    budget: Budget,
    /// Where the last event started.
    line: usize,
}

/// What a key or value may be.
#[derive(Clone)]
enum Node {
    /// `=`, which is a text as a key and nothing else.
    Default,
    /// `<<`, which has meaning as a key only.
    Merge,
    Value(Value),
}

struct Anchored {
    node: Node,
    weight: usize,
}

/// The kinds of lists and maps.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Collection {
    List,
    Pairs,
    Set,
    Table,
}

impl<'a> Composer<'a> {
    fn document(&mut self) -> Result<Value> {
        let mut value = Value::Null;
        let mut documents = 0;
        loop {
            match self.next()? {
                Event::StreamEnd => return Ok(value),
                Event::DocumentStart(_) if documents > 0 => {
                    return Err(self.failed("there is more than one document"));
                }
                Event::DocumentStart(_) => documents += 1,
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                node => value = self.value(node, 0)?,
            }
        }
    }

    fn value(&mut self, event: Event<'a>, depth: usize) -> Result<Value> {
        match self.node(event, depth)? {
            Node::Value(value) => Ok(value),
            Node::Default | Node::Merge => Err(self.failed("'=' and '<<' are keys only")),
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Node> {
        let (anchor, node) = match event {
            Event::Alias(anchor) => return self.alias(anchor),
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| format!("{}{}", tag.handle, tag.suffix));
                (anchor, self.scalar(&text, style, tag.as_deref())?)
            }
            Event::SequenceStart(anchor, tag) => {
                let tag = tag.map(|tag| format!("{}{}", tag.handle, tag.suffix));
                let kind = match tag.as_deref() {
                    None | Some("!" | "tag:yaml.org,2002:seq") => Collection::List,
                    Some("tag:yaml.org,2002:omap" | "tag:yaml.org,2002:pairs") => Collection::Pairs,
                    Some(tag) => return Err(self.unknown(tag, "a list")),
                };
                (anchor, Node::Value(self.list(kind, depth)?))
            }
            Event::MappingStart(anchor, tag) => {
                let tag = tag.map(|tag| format!("{}{}", tag.handle, tag.suffix));
                let kind = match tag.as_deref() {
                    None | Some("!" | "tag:yaml.org,2002:map") => Collection::Table,
                    Some("tag:yaml.org,2002:set") => Collection::Set,
                    Some(tag) => return Err(self.unknown(tag, "a map")),
                };
                (anchor, Node::Value(self.map(kind, depth)?))
            }
            _ => return Err(self.failed("a value should be here")),
        };
        if anchor > 0 {
            let weight = node.weight();
            self.budget.take_weight(weight)?;
            self.anchors.insert(anchor, Anchored { node: node.clone(), weight });
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize) -> Result<Node> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(self.failed("an alias is in the node that it refers to"));
        };
        self.budget.take_weight(anchored.weight)?;
        Ok(anchored.node.clone())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&str>) -> Result<Node> {
        let kind = match (tag, style) {
            (None, ScalarStyle::Plain) | (Some("!"), _) => Kind::of_plain(text),
            (None, _) => Kind::Str,
            (Some(tag), _) => match Kind::of_tag(tag) {
                Some(kind) => kind,
                None => return Err(self.unknown(tag, "a scalar")),
            },
        };
        match kind {
            Kind::Merge => Ok(Node::Merge),
            Kind::Default => Ok(Node::Default),
            kind => match kind.value(text) {
                Some(value) => Ok(Node::Value(value)),
                None => {
                    let error = self.failed("a scalar does not mean what it claims to be");
                    Err(error.with("expected", kind.name()))
                }
            },
        }
    }

    fn list(&mut self, kind: Collection, depth: usize) -> Result<Value> {
        self.enter(depth)?;
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::List(items)),
                item if kind == Collection::Pairs => items.push(self.pair(&item, depth + 1)?),
                item => items.push(self.value(item, depth + 1)?),
            }
        }
    }

    /// A map of one entry, as a list of key and value.
    fn pair(&mut self, event: &Event<'a>, depth: usize) -> Result<Value> {
        const EXPECTED: &str = "an ordered map consists of maps with one entry each";
        let mut entries = match event {
            Event::MappingStart(0, None) => self.entries(depth)?,
            Event::Alias(anchor) => match self.alias(*anchor)? {
                Node::Value(Value::Table(table)) => table
                    .into_iter()
                    .map(|(name, value)| (Node::Value(Value::Text(name)), value))
                    .collect(),
                _ => return Err(self.failed(EXPECTED)),
            },
            _ => return Err(self.failed(EXPECTED)),
        };
        match (entries.pop(), entries.is_empty()) {
            (Some((Node::Value(key), value)), true) => Ok(Value::List(vec![key, value])),
            _ => Err(self.failed(EXPECTED)),
        }
    }

    fn map(&mut self, kind: Collection, depth: usize) -> Result<Value> {
        let entries = self.entries(depth)?;
        // What is merged in gives way to what the map has itself.
        let mut merged = Vec::new();
        let mut own = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            match key {
                Node::Merge => self.merge(value, &mut merged)?,
                Node::Default => own.push((Value::from("="), value)),
                Node::Value(key @ (Value::List(_) | Value::Table(_))) => {
                    drop(key);
                    return Err(self.failed("a key is a list or a map"));
                }
                Node::Value(key) => own.push((key, value)),
            }
        }
        let all = merged.into_iter().chain(own);
        if kind == Collection::Set {
            let mut keys = Vec::new();
            let mut seen = std::collections::BTreeSet::new();
            for (key, _) in all {
                if seen.insert(format!("{key:?}")) {
                    keys.push(key);
                }
            }
            return Ok(Value::List(keys));
        }
        let mut table = Table::new();
        for (key, value) in all {
            let name = key.into_key().ok_or_else(|| self.failed("a key is not a text"))?;
            table.insert(name, value);
        }
        Ok(Value::Table(table))
    }

    /// The entries of a map whose start was read.
    fn entries(&mut self, depth: usize) -> Result<Vec<(Node, Value)>> {
        self.enter(depth)?;
        let mut entries = Vec::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(entries),
                key => self.node(key, depth + 1)?,
            };
            let value = self.next()?;
            entries.push((key, self.value(value, depth + 1)?));
        }
    }

    /// Adds the entries of a map, or of a list of maps of which the first counts most.
    fn merge(&self, value: Value, merged: &mut Vec<(Value, Value)>) -> Result<()> {
        let tables = match value {
            Value::List(items) => items,
            table => vec![table],
        };
        for table in tables.into_iter().rev() {
            let Value::Table(table) = table else {
                return Err(self.failed("only a map or a list of maps can be merged"));
            };
            merged.extend(table.into_iter().map(|(name, value)| (Value::Text(name), value)));
        }
        Ok(())
    }

    fn enter(&self, depth: usize) -> Result<()> {
        match depth < MAX_DEPTH {
            true => Ok(()),
            false => Err(self.failed("lists and maps are nested too deep, more than 128 levels")),
        }
    }

    fn next(&mut self) -> Result<Event<'a>> {
        match self.events.next_event() {
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok(event)
            }
            Some(Err(error)) => Err(broken(&error)),
            None => Ok(Event::StreamEnd),
        }
    }

    fn unknown(&self, tag: &str, what: &str) -> Error {
        let tag = tag.chars().take(100).collect::<String>();
        self.failed("the tag is not one that PyYAML's safe loader knows here")
            .with("tag", format_args!("{tag:?}"))
            .with("of", what)
    }

    fn failed(&self, what: &'static str) -> Error {
        Error::new(ErrorKind::Decode, what).with("line", self.line)
    }
}

impl Node {
    fn weight(&self) -> usize {
        match self {
            Self::Value(value) => weight(value),
            Self::Default | Self::Merge => 0,
        }
    }
}

fn broken(error: &ScanError) -> Error {
    Error::new(ErrorKind::Decode, error.info().to_owned())
        .with("line", error.marker().line())
        .with("column", error.marker().col())
}
