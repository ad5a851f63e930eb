//! Values as pickles of protocol 4.

use crate::codec::MAX_DEPTH;
use crate::codec::pickle::opcode as op;
use crate::error::{Error, ErrorKind, Result};
use crate::value::date::timestamp_text;
use crate::value::moment::{Clock, Day, Offset};
use crate::value::tagged::{is_decimal, plain_hex};
use crate::value::{Tag, Value};

/// Writes a value. Nothing is used twice, hence nothing is memorised, and there are no frames:
/// readers do without both.
pub(super) fn write(value: &Value) -> Result<Vec<u8>> {
    let mut writer = Writer { out: Vec::with_capacity(128) };
    writer.out.extend([op::PROTO, 4]);
    writer.value(value, 0)?;
    writer.out.push(op::STOP);
    Ok(writer.out)
}

struct Writer {
    out: Vec<u8>,
}

impl Writer {
    fn value(&mut self, value: &Value, depth: usize) -> Result<()> {
        match value {
            Value::Null => self.out.push(op::NONE),
            Value::Bool(true) => self.out.push(op::NEWTRUE),
            Value::Bool(false) => self.out.push(op::NEWFALSE),
            Value::Int(number) => self.int(*number),
            Value::UInt(number) => self.long(&[&number.to_le_bytes()[..], &[0]].concat()),
            Value::Float(number) => {
                self.out.push(op::BINFLOAT);
                self.out.extend(number.to_be_bytes());
            }
            Value::Text(text) => self.text(text),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::Decimal(text) if is_decimal(text) => {
                self.name("decimal", "Decimal");
                self.text(text);
                self.call(op::TUPLE1);
            }
            Value::Decimal(text) => return Err(broken("a decimal", text)),
            Value::Timestamp(seconds) => match timestamp_text(*seconds) {
                Some(text) => self.datetime(&text)?,
                None => return Err(broken("a timestamp", seconds)),
            },
            Value::Tagged(Tag::Date, text) => {
                let day = Day::parse(text).ok_or_else(|| broken("a date", text))?;
                self.name("datetime", "date");
                self.bytes(&day_state(day));
                self.call(op::TUPLE1);
            }
            Value::Tagged(Tag::Datetime, text) => self.datetime(text)?,
            Value::Tagged(Tag::Time, text) => {
                let clock = Clock::parse(text).ok_or_else(|| broken("a time", text))?;
                self.name("datetime", "time");
                self.bytes(&clock_state(clock));
                self.call_with_zone(clock.offset);
            }
            Value::Tagged(Tag::Uuid, text) => {
                let hex = plain_hex(text).ok_or_else(|| broken("a UUID", text))?;
                self.name("uuid", "UUID");
                self.text(&hex);
                self.call(op::TUPLE1);
            }
            Value::List(items) => {
                enter(depth)?;
                self.out.push(op::EMPTY_LIST);
                if !items.is_empty() {
                    self.out.push(op::MARK);
                    items.iter().try_for_each(|item| self.value(item, depth + 1))?;
                    self.out.push(op::APPENDS);
                }
            }
            Value::Table(table) => {
                enter(depth)?;
                self.out.push(op::EMPTY_DICT);
                if !table.is_empty() {
                    self.out.push(op::MARK);
                    for (name, value) in table.iter() {
                        self.text(name);
                        self.value(value, depth + 1)?;
                    }
                    self.out.push(op::SETITEMS);
                }
            }
        }
        Ok(())
    }

    fn int(&mut self, number: i64) {
        if let Ok(number) = u8::try_from(number) {
            self.out.extend([op::BININT1, number]);
        } else if let Ok(number) = u16::try_from(number) {
            self.out.push(op::BININT2);
            self.out.extend(number.to_le_bytes());
        } else if let Ok(number) = i32::try_from(number) {
            self.out.push(op::BININT);
            self.out.extend(number.to_le_bytes());
        } else {
            self.long(&number.to_le_bytes());
        }
    }

    fn long(&mut self, bytes: &[u8]) {
        self.counted(bytes, op::LONG1, op::LONG4, op::LONG4);
    }

    fn text(&mut self, text: &str) {
        self.counted(text.as_bytes(), op::SHORT_BINUNICODE, op::BINUNICODE, op::BINUNICODE8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.counted(bytes, op::SHORT_BINBYTES, op::BINBYTES, op::BINBYTES8);
    }

    /// The operation whose length has as few bytes as are needed, with its bytes.
    fn counted(&mut self, bytes: &[u8], one: u8, four: u8, eight: u8) {
        if let Ok(length) = u8::try_from(bytes.len()) {
            self.out.extend([one, length]);
        } else if let Ok(length) = u32::try_from(bytes.len()) {
            self.out.push(four);
            self.out.extend(length.to_le_bytes());
        } else {
            self.out.push(eight);
            self.out.extend((bytes.len() as u64).to_le_bytes());
        }
        self.out.extend_from_slice(bytes);
    }

    fn datetime(&mut self, text: &str) -> Result<()> {
        let parts = Day::parse_with_clock(text);
        let (day, clock) = parts.ok_or_else(|| broken("a datetime", text))?;
        self.name("datetime", "datetime");
        self.bytes(&[&day_state(day)[..], &clock_state(clock)].concat());
        self.call_with_zone(clock.offset);
        Ok(())
    }

    /// Calls what is below the state on the stack with it, and with the time zone if there is one.
    fn call_with_zone(&mut self, offset: Option<Offset>) {
        let Some(offset) = offset else {
            return self.call(op::TUPLE1);
        };
        self.name("datetime", "timezone");
        self.name("datetime", "timedelta");
        self.int(0);
        self.int(offset.micros() / 1_000_000);
        self.int(offset.micros() % 1_000_000);
        self.call(op::TUPLE3);
        self.call(op::TUPLE1);
        self.call(op::TUPLE2);
    }

    fn name(&mut self, module: &str, name: &str) {
        self.text(module);
        self.text(name);
        self.out.push(op::STACK_GLOBAL);
    }

    fn call(&mut self, tuple: u8) {
        self.out.extend([tuple, op::REDUCE]);
    }
}

fn day_state(day: Day) -> [u8; 4] {
    let [high, low] = day.year.to_be_bytes();
    [high, low, day.month, day.day]
}

fn clock_state(clock: Clock) -> [u8; 6] {
    let [_, high, middle, low] = clock.micros.to_be_bytes();
    [clock.hour, clock.minute, clock.second, high, middle, low]
}

fn enter(depth: usize) -> Result<()> {
    match depth < MAX_DEPTH {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Encode,
            "lists and tables are nested too deep, more than 128 levels",
        )),
    }
}

fn broken(what: &str, text: impl std::fmt::Debug) -> Error {
    Error::new(ErrorKind::Encode, format!("{text:?} is not {what}"))
}
