//! Python's ISO texts in parts, for codecs that write days and times in another form.

use std::fmt;

use super::date::{Date, parse_date};

/// A day that exists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Day {
    pub(crate) year: u16,
    pub(crate) month: u8,
    pub(crate) day: u8,
}

/// A time of a day, perhaps with the distance from UTC in microseconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Clock {
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
    pub(crate) micros: u32,
    pub(crate) offset: Option<Offset>,
}

/// A distance from UTC, in microseconds: less than a day.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Offset(i64);

impl Day {
    /// A day, if it exists.
    pub(crate) fn new(year: i64, month: i64, day: i64) -> Option<Self> {
        Date::new(year, month, day).and_then(Self::of)
    }

    /// Reads `2020-01-02`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::parse_start(text).filter(|(_, rest)| rest.is_empty()).map(|(day, _)| day)
    }

    /// Reads a day, any letter (Python writes `T`) and a time; without a time it is midnight.
    pub(crate) fn parse_with_clock(text: &str) -> Option<(Self, Clock)> {
        let (day, rest) = Self::parse_start(text)?;
        let mut rest = rest.chars();
        match rest.next() {
            Some(_) => Some((day, Clock::parse(rest.as_str())?)),
            None => Some((day, Clock::new(0, 0, 0, 0, None)?)),
        }
    }

    fn parse_start(text: &str) -> Option<(Self, &str)> {
        let (date, rest) = parse_date(text.as_bytes())?;
        Some((Self::of(date)?, text.get(text.len() - rest.len()..)?))
    }

    fn of(date: Date) -> Option<Self> {
        Some(Self {
            year: date.year.try_into().ok()?,
            month: date.month.try_into().ok()?,
            day: date.day.try_into().ok()?,
        })
    }
}

impl Clock {
    /// A time, if each part is in its range.
    pub(crate) fn new(
        hour: u8,
        minute: u8,
        second: u8,
        micros: u32,
        offset: Option<Offset>,
    ) -> Option<Self> {
        let fits = hour < 24 && minute < 60 && second < 60 && micros < MICROS;
        fits.then_some(Self { hour, minute, second, micros, offset })
    }

    /// Reads `03`, `03:04`, `03:04:05` or `03:04:05.000006`, perhaps with an offset.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let Some(at) = text.find(['Z', '+', '-']) else {
            return Self::parse_bare(text);
        };
        let (clock, offset) = text.split_at(at);
        let offset = match offset.split_at(1) {
            ("Z", "") => Offset(0),
            (sign, distance) => {
                let distance = Self::parse_bare(distance)?.micros_of_day();
                Offset(if sign == "-" { -distance } else { distance })
            }
        };
        Some(Self { offset: Some(offset), ..Self::parse_bare(clock)? })
    }

    fn parse_bare(text: &str) -> Option<Self> {
        let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let mut parts = [0; 3];
        let mut known = parts.iter_mut();
        for part in clock.split(':') {
            let two_digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            *known.next()? = two_digits.then(|| part.parse::<u8>().ok()).flatten()?;
        }
        Self::new(parts[0], parts[1], parts[2], micros_of(fraction)?, None)
    }

    fn micros_of_day(self) -> i64 {
        let seconds = (i64::from(self.hour) * 60 + i64::from(self.minute)) * 60;
        (seconds + i64::from(self.second)) * i64::from(MICROS) + i64::from(self.micros)
    }
}

impl Offset {
    pub(crate) const UTC: Self = Self(0);

    /// A distance in microseconds, if it is less than a day.
    pub(crate) fn new(micros: i64) -> Option<Self> {
        let day = 86_400 * i64::from(MICROS);
        (-day < micros && micros < day).then_some(Self(micros))
    }

    pub(crate) fn micros(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// As Python's `isoformat` writes it.
impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second)?;
        if self.micros != 0 {
            write!(f, ".{:06}", self.micros)?;
        }
        self.offset.map_or(Ok(()), |offset| offset.fmt(f))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        let (seconds, micros) =
            (self.0.unsigned_abs() / u64::from(MICROS), self.0.unsigned_abs() % u64::from(MICROS));
        write!(f, "{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60)?;
        if seconds % 60 != 0 || micros != 0 {
            write!(f, ":{:02}", seconds % 60)?;
        }
        if micros != 0 {
            write!(f, ".{micros:06}")?;
        }
        Ok(())
    }
}

/// The microseconds of the digits behind a point; those after the sixth do not count.
pub(crate) fn micros_of(fraction: &str) -> Option<u32> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{fraction:0<6}").get(..6)?.parse().ok()
}

const MICROS: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_written_as_they_were_read() {
        for text in [
            "03:04:05",
            "03:04:05.000006",
            "03:04:05+05:30",
            "23:59:59.999999-00:00:01.000002",
            "00:00:00-23:59",
        ] {
            assert_eq!(Clock::parse(text).unwrap().to_string(), text);
        }
        for (text, normal) in [
            ("03", "03:00:00"),
            ("03:04Z", "03:04:00+00:00"),
            ("03:04:05.1234567", "03:04:05.123456"),
        ] {
            assert_eq!(Clock::parse(text).unwrap().to_string(), normal);
        }
        let (day, clock) = Day::parse_with_clock("2020-02-29T03:04").unwrap();
        assert_eq!(format!("{day} {clock}"), "2020-02-29 03:04:00");
        assert_eq!(Day::parse_with_clock("2020-02-29").unwrap().1.to_string(), "00:00:00");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in ["", "24:00", "3:04", "03:60", "03:04:05.", "03:04:05:06", "03:04+", "é", "Z"] {
            assert_eq!(Clock::parse(bad), None, "{bad}");
        }
        for bad in ["2021-02-29", "2020-1-1", "2020-01-02T", "0000-01-01", "2020-01-02x"] {
            assert_eq!(Day::parse(bad), None, "{bad}");
        }
        assert_eq!(Offset::new(86_400_000_000), None);
    }
}
