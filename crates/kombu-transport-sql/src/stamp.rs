//! The times that stand for holders.
//!
//! A message that this crate's consumers hold has no `visible`, and a `timestamp` in the years from
//! 1000 on: its holder's number, written as a time. Kombu's column keeps whole seconds at least,
//! so each number has a second of its own.

use crate::dialect::Dialect;

/// The time that stands for a holder, as the database's column keeps it.
pub(crate) fn of(holder: i64, dialect: Dialect) -> String {
    text(&seconds(holder), dialect)
}

/// The time so many milliseconds after the start of 1970, in UTC.
pub(crate) fn utc(millis: i64, dialect: Dialect) -> String {
    let seconds = millis.div_euclid(1000);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years that begin in March, in eras of 400, as everybody counts.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let [hour, minute, second] = [rest / 3600, rest / 60 % 60, rest % 60];
    text(&format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"), dialect)
}

/// SQLite has no times: SQLAlchemy writes texts with microseconds.
fn text(seconds: &str, dialect: Dialect) -> String {
    let fraction = if dialect == Dialect::Sqlite { ".000000" } else { "" };
    format!("{seconds}{fraction}")
}

fn seconds(holder: i64) -> String {
    let [second, minute, hour] = [holder % 60, holder / 60 % 60, holder / 3600 % 24];
    let days = holder / 86_400;
    // Months of 28 days, of which there are twelve every year.
    let [day, month, year] = [days % 28 + 1, days / 28 % 12 + 1, days / 336 + 1000];
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// The holder that a time stands for, if it stands for one.
pub(crate) fn read(time: &str) -> Option<i64> {
    let time = time.get(..19)?;
    let field = |from: usize, to: usize| time.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    if !(1000..FIRST_REAL_YEAR).contains(&year) {
        return None;
    }
    let days = (year - 1000) * 336 + (month - 1) * 28 + day - 1;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Times from this year on are times.
const FIRST_REAL_YEAR: i64 = 1900;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for holder in [0, 1, 59, 60, 86_399, 86_400, 28 * 86_400, 336 * 86_400, 20_000_000_000] {
            let stamp = of(holder, Dialect::Postgres);
            assert_eq!(read(&stamp), Some(holder), "{stamp}");
        }
        assert_eq!(of(1, Dialect::MySql), "1000-01-01 00:00:01");
        assert_eq!(of(1, Dialect::Sqlite), "1000-01-01 00:00:01.000000");
        assert_eq!(read("1000-01-01 00:00:07.000000"), Some(7));
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(utc(0, Dialect::Postgres), "1970-01-01 00:00:00");
        assert_eq!(utc(951_782_400_000, Dialect::Postgres), "2000-02-29 00:00:00");
        assert_eq!(utc(1_795_523_476_999, Dialect::Postgres), "2026-11-24 12:31:16");
    }

    #[test]
    fn times_of_kombu_stand_for_nobody() {
        assert_eq!(read("2026-11-24 05:45:57.724397"), None);
        assert_eq!(read(""), None);
    }
}
