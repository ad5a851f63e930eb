//! The stack machine.

use std::collections::HashMap;

use crate::codec::budget::Budget;
use crate::codec::pickle::build::{Id, Node, Nodes};
use crate::codec::pickle::known::Known;
use crate::codec::pickle::source::{Source, quoted, raw_unicode_escape, utf8};
use crate::codec::{number, pickle::opcode as op};
use crate::error::Result;
use crate::value::Value;

/// Reads the value of a pickle.
pub(super) fn read(body: &[u8]) -> Result<Value> {
    let mut machine = Machine {
        source: Source::new(body),
        nodes: Nodes::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        budget: Budget::of(body),
    };
    let top = machine.run()?;
    machine.nodes.value(top, 0, &mut machine.budget)
}

struct Machine<'a> {
    source: Source<'a>,
    nodes: Nodes,
    stack: Vec<Id>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    budget: Budget,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Id> {
        loop {
            let opcode = self.source.byte()?;
            if opcode == op::STOP {
                return self.pop();
            }
            self.step(opcode)?;
        }
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            op::PROTO => match self.source.byte()? {
                0..=5 => {}
                newer => {
                    let error = self.source.failed("the protocol is newer than 5");
                    return Err(error.with("protocol", newer));
                }
            },
            op::FRAME => {
                self.source.array::<8>()?;
            }

            op::MARK => self.marks.push(self.stack.len()),
            op::POP if self.stack.len() > self.floor() => {
                self.pop()?;
            }
            op::POP | op::POP_MARK => {
                self.pop_mark()?;
            }
            op::DUP => {
                let top = self.top()?;
                self.stack.push(top);
            }

            op::PUT => {
                let index = self.line_index()?;
                self.memorise(index)?;
            }
            op::BINPUT => {
                let index = self.source.byte()?;
                self.memorise(index.into())?;
            }
            op::LONG_BINPUT => {
                let index = u32::from_le_bytes(self.source.array()?);
                self.memorise(index.into())?;
            }
            op::MEMOIZE => self.memorise(self.memo.len() as u64)?,
            op::GET => {
                let index = self.line_index()?;
                self.recall(index)?;
            }
            op::BINGET => {
                let index = self.source.byte()?;
                self.recall(index.into())?;
            }
            op::LONG_BINGET => {
                let index = u32::from_le_bytes(self.source.array()?);
                self.recall(index.into())?;
            }

            op::EMPTY_LIST | op::EMPTY_SET => self.push(Node::List(Vec::new())),
            op::EMPTY_DICT => self.push(Node::Dict(Vec::new())),
            op::EMPTY_TUPLE => self.push(Node::Tuple(Vec::new())),
            op::LIST | op::FROZENSET => {
                let items = self.pop_mark()?;
                self.push(Node::List(items));
            }
            op::TUPLE => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items));
            }
            op::TUPLE1 => self.tuple(1)?,
            op::TUPLE2 => self.tuple(2)?,
            op::TUPLE3 => self.tuple(3)?,
            op::DICT => {
                let items = self.pop_mark()?;
                let entries = self.pairs(&items)?;
                self.push(Node::Dict(entries));
            }
            op::APPEND => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            op::APPENDS | op::ADDITEMS => {
                let items = self.pop_mark()?;
                self.append(items)?;
            }
            op::SETITEM => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])?;
            }
            op::SETITEMS => {
                let items = self.pop_mark()?;
                self.set(&items)?;
            }

            op::GLOBAL => {
                let module = self.source.ascii_line()?;
                let name = self.source.ascii_line()?;
                self.name(module, name)?;
            }
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Node::Plain(Value::Text(module)), Node::Plain(Value::Text(name))) =
                    (self.nodes.node(module), self.nodes.node(name))
                else {
                    return Err(self.source.failed("the name of a class is no text"));
                };
                let (module, name) = (module.clone(), name.clone());
                self.name(&module, &name)?;
            }
            op::REDUCE | op::NEWOBJ => {
                let arguments = self.pop()?;
                let callee = self.pop()?;
                // What is copied here could be copied again and again, which takes more time than
                // the copies at the end do.
                self.budget.take_weight(self.nodes.weight(arguments).saturating_mul(8))?;
                let made = self.nodes.call(callee, arguments);
                let made = made.map_err(|what| self.source.failed(what))?;
                self.push(made);
            }
            op::BUILD => {
                let state = self.pop()?;
                let object = self.top()?;
                self.nodes.build(object, state).map_err(|what| self.source.failed(what))?;
            }

            scalar => {
                let value = self.scalar(scalar)?;
                self.push(Node::Plain(value));
            }
        }
        Ok(())
    }

    fn scalar(&mut self, opcode: u8) -> Result<Value> {
        let source = &mut self.source;
        Ok(match opcode {
            op::NONE => Value::Null,
            op::NEWTRUE => Value::Bool(true),
            op::NEWFALSE => Value::Bool(false),
            op::INT => match source.ascii_line()? {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                digits => self.number(digits)?,
            },
            op::LONG => {
                let line = source.ascii_line()?;
                self.number(line.strip_suffix('L').unwrap_or(line))?
            }
            op::BININT => Value::from(i32::from_le_bytes(source.array()?)),
            op::BININT1 => Value::from(source.byte()?),
            op::BININT2 => Value::from(u16::from_le_bytes(source.array()?)),
            op::LONG1 => {
                let bytes = source.counted1()?;
                self.long(bytes)?
            }
            op::LONG4 => {
                let bytes = source.counted4()?;
                self.long(bytes)?
            }
            op::FLOAT => {
                let number = source.ascii_line()?.parse();
                Value::Float(number.map_err(|_| source.failed("a float is broken"))?)
            }
            op::BINFLOAT => Value::Float(f64::from_be_bytes(source.array()?)),
            op::UNICODE => {
                let text = raw_unicode_escape(source.line()?);
                Value::Text(text.ok_or_else(|| source.failed("a text has a broken escape"))?)
            }
            op::SHORT_BINUNICODE => source.counted1().and_then(|text| self.text(text))?,
            op::BINUNICODE => source.counted4().and_then(|text| self.text(text))?,
            op::BINUNICODE8 => source.counted8().and_then(|text| self.text(text))?,
            op::STRING => {
                let text = quoted(source.line()?);
                python2(&text.ok_or_else(|| source.failed("a quoted text is broken"))?)
            }
            op::SHORT_BINSTRING => python2(source.counted1()?),
            op::BINSTRING => python2(source.counted4()?),
            op::SHORT_BINBYTES => Value::Bytes(source.counted1()?.to_vec().into()),
            op::BINBYTES => Value::Bytes(source.counted4()?.to_vec().into()),
            op::BINBYTES8 | op::BYTEARRAY8 => Value::Bytes(source.counted8()?.to_vec().into()),
            other => {
                let refused = source.failed(op::refused(other));
                return Err(refused.with("opcode", format_args!("{other:#04x}")));
            }
        })
    }

    fn number(&self, digits: &str) -> Result<Value> {
        number::from_text(digits).ok_or_else(|| self.source.failed("an integer is broken"))
    }

    fn long(&self, bytes: &[u8]) -> Result<Value> {
        number::from_bytes(bytes)
            .ok_or_else(|| self.source.failed("an integer has more than 4096 bits"))
    }

    fn text(&self, bytes: &[u8]) -> Result<Value> {
        utf8(bytes).map(Value::Text).ok_or_else(|| self.source.failed("a text is not UTF-8"))
    }

    fn name(&mut self, module: &str, name: &str) -> Result<()> {
        match Known::find(module, name) {
            Some(known) => {
                self.push(Node::Name(known));
                Ok(())
            }
            None => {
                let what = "it needs a class or function, and only plain data is read";
                let full = format!("{module}.{name}").chars().take(100).collect::<String>();
                Err(self.source.failed(what).with("name", format_args!("{full:?}")))
            }
        }
    }

    fn append(&mut self, items: Vec<Id>) -> Result<()> {
        let list = self.top()?;
        match self.nodes.node_mut(list) {
            Node::List(list) => {
                list.extend(items);
                Ok(())
            }
            _ => Err(self.source.failed("items are added to something that is no list")),
        }
    }

    fn set(&mut self, items: &[Id]) -> Result<()> {
        let entries = self.pairs(items)?;
        let dict = self.top()?;
        match self.nodes.node_mut(dict) {
            Node::Dict(dict) => {
                dict.extend(entries);
                Ok(())
            }
            _ => Err(self.source.failed("entries are set in something that is no dict")),
        }
    }

    fn pairs(&self, items: &[Id]) -> Result<Vec<(Id, Id)>> {
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(self.source.failed("a dict has a key without a value"));
        };
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    }

    fn tuple(&mut self, length: usize) -> Result<()> {
        let start = self.stack.len().checked_sub(length).filter(|start| *start >= self.floor());
        let start = start.ok_or_else(|| self.source.failed("the stack is empty"))?;
        let items = self.stack.split_off(start);
        self.push(Node::Tuple(items));
        Ok(())
    }

    fn memorise(&mut self, index: u64) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u64) -> Result<()> {
        let known = self.memo.get(&index).copied();
        self.stack.push(known.ok_or_else(|| self.source.failed("a reference leads nowhere"))?);
        Ok(())
    }

    fn line_index(&mut self) -> Result<u64> {
        let index = self.source.ascii_line()?.parse();
        index.map_err(|_| self.source.failed("a reference is no number"))
    }

    fn push(&mut self, node: Node) {
        let id = self.nodes.add(node);
        self.stack.push(id);
    }

    fn top(&self) -> Result<Id> {
        let top = self.stack.get(self.floor()..).and_then(|stack| stack.last());
        top.copied().ok_or_else(|| self.source.failed("the stack is empty"))
    }

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// What is above the last mark, which is removed.
    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| self.source.failed("there is no mark"))?;
        Ok(self.stack.split_off(mark))
    }

    /// How high the stack was at the last mark: what is below belongs to somebody else.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }
}

/// A `str` of Python 2: a text if it can be one.
fn python2(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => Value::Bytes(bytes.to_vec().into()),
    }
}
