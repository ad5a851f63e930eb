//! YAML's timestamps.

use crate::value::moment::{Clock, Day, Offset, micros_of};
use crate::value::{Tag, Value};

/// The parts of a timestamp, in their ranges or not.
pub(super) struct Timestamp<'a> {
    date: [&'a str; 3],
    time: Option<Time<'a>>,
}

struct Time<'a> {
    clock: [&'a str; 3],
    fraction: &'a str,
    zone: Option<Zone<'a>>,
}

enum Zone<'a> {
    Utc,
    Offset { negative: bool, hours: &'a str, minutes: &'a str },
}

impl<'a> Timestamp<'a> {
    /// The parts, if the text has the form of a timestamp.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut rest = Rest(text);
        let year = rest.digits(4, 4)?;
        rest.letter('-')?;
        let month = rest.digits(1, 2)?;
        rest.letter('-')?;
        let date = [year, month, rest.digits(1, 2)?];
        if rest.0.is_empty() {
            return Some(Self { date, time: None });
        }
        if rest.letter('T').or(rest.letter('t')).is_none() && !rest.spaces() {
            return None;
        }
        let hour = rest.digits(1, 2)?;
        rest.letter(':')?;
        let minute = rest.digits(2, 2)?;
        rest.letter(':')?;
        let clock = [hour, minute, rest.digits(2, 2)?];
        let fraction = match rest.letter('.') {
            Some(()) => rest.digits(0, usize::MAX)?,
            None => "",
        };
        let zone = match rest.0.is_empty() {
            true => None,
            false => Some(rest.zone()?),
        };
        let whole = rest.0.is_empty();
        whole.then_some(Self { date, time: Some(Time { clock, fraction, zone }) })
    }

    /// Whether a plain text of this form is a timestamp: a date alone needs all its digits.
    pub(super) fn is_implicit(&self) -> bool {
        self.time.is_some() || (self.date[1].len() == 2 && self.date[2].len() == 2)
    }

    /// The date or datetime, if it exists.
    pub(super) fn value(&self) -> Option<Value> {
        let [year, month, day] = self.date.map(|part| part.parse::<i64>().ok());
        let day = Day::new(year?, month?, day?)?;
        let Some(time) = &self.time else {
            return Some(Value::Tagged(Tag::Date, day.to_string()));
        };
        let [hour, minute, second] = time.clock.map(|part| part.parse::<u8>().ok());
        let micros = if time.fraction.is_empty() { 0 } else { micros_of(time.fraction)? };
        let offset = match &time.zone {
            Some(zone) => Some(zone.offset()?),
            None => None,
        };
        let clock = Clock::new(hour?, minute?, second?, micros, offset)?;
        Some(Value::Tagged(Tag::Datetime, format!("{day}T{clock}")))
    }
}

impl Zone<'_> {
    fn offset(&self) -> Option<Offset> {
        let Self::Offset { negative, hours, minutes } = self else {
            return Some(Offset::UTC);
        };
        let minutes = if minutes.is_empty() { 0 } else { minutes.parse::<i64>().ok()? };
        let micros = (hours.parse::<i64>().ok()? * 60 + minutes) * 60_000_000;
        Offset::new(if *negative { -micros } else { micros })
    }
}

/// What was not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn letter(&mut self, letter: char) -> Option<()> {
        self.0 = self.0.strip_prefix(letter)?;
        Some(())
    }

    fn digits(&mut self, least: usize, most: usize) -> Option<&'a str> {
        let digits = self.0.bytes().take(most).take_while(u8::is_ascii_digit).count();
        let (digits, rest) = (digits >= least).then(|| self.0.split_at(digits))?;
        self.0 = rest;
        Some(digits)
    }

    /// Whether there are spaces; they are stepped over.
    fn spaces(&mut self) -> bool {
        let rest = self.0.trim_start_matches([' ', '\t']);
        let found = rest.len() < self.0.len();
        self.0 = rest;
        found
    }

    fn zone(&mut self) -> Option<Zone<'a>> {
        self.spaces();
        if self.letter('Z').is_some() {
            return Some(Zone::Utc);
        }
        let negative = self.letter('-').is_some();
        if !negative {
            self.letter('+')?;
        }
        let hours = self.digits(1, 2)?;
        let minutes = match self.letter(':') {
            Some(()) => self.digits(2, 2)?,
            None => "",
        };
        Some(Zone::Offset { negative, hours, minutes })
    }
}
