//! The shapes of Python's ISO texts, and seconds since 1970 as such a text.

/// Whether it is `2020-01-02`, a day that exists.
pub(super) fn is_date(text: &str) -> bool {
    parse_date(text.as_bytes()).is_some_and(|(_, rest)| rest.is_empty())
}

/// Whether it is a date, any one character (Python writes `T`), and a time.
pub(super) fn is_datetime(text: &str) -> bool {
    let Some((_, rest)) = parse_date(text.as_bytes()) else {
        return false;
    };
    let mut rest = text[text.len() - rest.len()..].chars();
    rest.next().is_some() && is_time(rest.as_str())
}

/// Whether it is `03`, `03:04`, `03:04:05` or `03:04:05.000006`, perhaps with an offset: `Z`,
/// `+05:30`.
pub(super) fn is_time(text: &str) -> bool {
    let Some(offset_at) = text.find(['Z', '+', '-']) else {
        return is_clock(text);
    };
    let (clock, offset) = text.split_at(offset_at);
    is_clock(clock) && (offset == "Z" || is_clock(&offset[1..]))
}

/// The text that Python's `isoformat` writes for a time in UTC.
///
/// `None` if the year is not in 1 to 9999, which Python's datetime cannot hold.
pub(crate) fn timestamp_text(seconds: i64) -> Option<String> {
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Outside of this range the sums below could overflow, and the year is out of range anyway.
    if !(-1_000_000..=3_000_000).contains(&days) {
        return None;
    }
    let Date { year, month, day } = civil(days);
    (1..=9999).contains(&year).then(|| {
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}+00:00",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    })
}

/// The seconds of a text that [`timestamp_text`] wrote.
pub(super) fn timestamp_seconds(text: &str) -> Option<i64> {
    let (date, rest) = parse_date(text.as_bytes())?;
    let clock = std::str::from_utf8(rest).ok()?.strip_prefix('T')?.strip_suffix("+00:00")?;
    let mut second = 0;
    for part in clock.split(':') {
        second = second * 60 + part.parse::<i64>().ok()?;
    }
    Some(days(date) * 86_400 + second)
}

#[derive(Clone, Copy)]
pub(super) struct Date {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
}

impl Date {
    /// A day that exists.
    pub(super) fn new(year: i64, month: i64, day: i64) -> Option<Self> {
        let exists = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in(year, month)).contains(&day);
        exists.then_some(Self { year, month, day })
    }
}

/// The date at the start of a text, and what follows.
pub(super) fn parse_date(text: &[u8]) -> Option<(Date, &[u8])> {
    let (date, rest) = text.split_at_checked("2020-01-02".len())?;
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0, |sum, digit| {
            digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
        })
    };
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let date = Date::new(number(&date[..4])?, number(&date[5..7])?, number(&date[8..])?)?;
    Some((date, rest))
}

fn is_clock(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut limits = [24, 60, 60].into_iter();
    let parts_fit = clock.split(':').all(|part| {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        let limit = limits.next().unwrap_or(0);
        digits && part.parse::<u8>().is_ok_and(|number| number < limit)
    });
    parts_fit && !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit())
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a day of the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last one; 400 of them have 146097
/// days, and 1970-01-01 is day 719468 of that count.
fn days(Date { year, month, day }: Date) -> i64 {
    let march_year = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (march_year.div_euclid(400), march_year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse of [`days`].
fn civil(days: i64) -> Date {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    Date { year, month, day }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_written_as_python_writes_them() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00+00:00"),
            (-1, "1969-12-31T23:59:59+00:00"),
            (1_582_934_400, "2020-02-29T00:00:00+00:00"),
            (253_402_300_799, "9999-12-31T23:59:59+00:00"),
            (-62_135_596_800, "0001-01-01T00:00:00+00:00"),
        ] {
            assert_eq!(timestamp_text(seconds).as_deref(), Some(text));
            assert_eq!(timestamp_seconds(text), Some(seconds));
        }
        for out in [253_402_300_800, -62_135_596_801, i64::MAX, i64::MIN] {
            assert_eq!(timestamp_text(out), None);
        }
    }

    #[test]
    fn every_day_has_one_date() {
        for day in -719_162..2_932_897 {
            assert_eq!(days(civil(day)), day);
        }
    }

    #[test]
    fn shapes_follow_isoformat() {
        for good in ["2020-02-29", "9999-12-31"] {
            assert!(is_date(good), "{good}");
        }
        for bad in ["", "2021-02-29", "2020-13-01", "2020-1-1", "2020/01/01", "0000-01-01", "x"] {
            assert!(!is_date(bad), "{bad}");
        }
        for good in ["03", "03:04", "03:04:05", "03:04:05.5", "03:04Z", "03:04:05.000006+05:30"] {
            assert!(is_time(good), "{good}");
        }
        for bad in ["", "24:00", "3:04", "03:60", "03:04:05.", "03:04:05:06", "03:04+", "é"] {
            assert!(!is_time(bad), "{bad}");
        }
        assert!(is_datetime("2020-01-02T03:04:05.000006+00:00"));
        assert!(is_datetime("2020-01-02é03:04"));
        assert!(!is_datetime("2020-01-02"));
        assert!(!is_datetime("tomorrow at noon"));
    }
}
