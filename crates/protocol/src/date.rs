//! HTTP dates (RFC 9110 section 5.6.7) as seconds since 1970, and the filter that they are for.
//!
//! Only the preferred form is read: the filter is for clients of this protocol, and these write no other.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A date as a `Date` field has it, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
///
/// Times from the year 10000 on are written as the last second before it.
#[must_use]
pub fn write(seconds: u64) -> String {
    const LAST: u64 = 253_402_300_799;
    let seconds = seconds.min(LAST);
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let name = |names: &[&'static str], index: u64| {
        usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or_default()
    };
    let (weekday, month) = (name(&DAYS, days % 7), name(&MONTHS, month - 1));
    format!("{weekday}, {day:02} {month} {year:04} {:02}:{:02}:{:02} GMT", time / 3600, time / 60 % 60, time % 60)
}

/// The seconds since 1970 of a date, or `None` for any other text, dates before 1970 and days that do not exist.
#[must_use]
pub fn read(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?
    };
    let month = MONTHS.iter().position(|name| text.get(8..11) == Some(name))?;
    let month = u64::try_from(month).ok()? + 1;
    let (day, year) = (number(5, 7)?, number(12, 16)?);
    let (hour, minute, second) = (number(17, 19)?, number(20, 22)?, number(23, 25)?);
    if year < 1970 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // a leap second counts as the one before it
    let seconds = days_before(year, month, day)? * 86_400 + hour * 3600 + minute * 60 + second.min(59);
    (second < 60 && write(seconds) == text || second == 60 && write(seconds) == text.replace(":60 GMT", ":59 GMT"))
        .then_some(seconds)
}

/// Whether `then` is no older than `age` seconds and no further ahead than `skew` seconds.
#[must_use]
pub const fn is_fresh(now: u64, then: u64, age: u64, skew: u64) -> bool {
    then <= now.saturating_add(skew) && now <= then.saturating_add(age)
}

/// Year, month and day of a day since 1970 (the method of Hinnant's "chrono-compatible low-level date algorithms").
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + (month <= 2) as u64, month, day)
}

/// Days from 1970 to a day, or `None` where the month has no such day.
fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day.checked_sub(1)?;
    let days = (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).checked_sub(719_468)?;
    (civil(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates_are_read_and_written() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_827_696, "Tue, 29 Feb 2000 12:34:56 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(write(seconds), text);
            assert_eq!(read(text), Some(seconds));
        }
        for day in 0..60_000 {
            assert_eq!(read(&write(day * 86_400 + 7)), Some(day * 86_400 + 7));
        }
        assert_eq!(read("Sat, 31 Dec 2016 23:59:60 GMT"), read("Sat, 31 Dec 2016 23:59:59 GMT"));
    }

    #[test]
    fn other_texts_are_not_dates() {
        for text in [
            "",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:49:37 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Wed, 30 Feb 2000 12:34:56 GMT",
            "Mon, 29 Feb 2100 12:34:56 GMT",
            "Thu, 00 Jan 1970 00:00:00 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sün, 06 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn the_window_has_an_age_and_a_skew() {
        assert!(is_fresh(1000, 1000, 60, 5) && is_fresh(1000, 940, 60, 5) && is_fresh(1000, 1005, 60, 5));
        assert!(!is_fresh(1000, 939, 60, 5) && !is_fresh(1000, 1006, 60, 5));
        assert!(!is_fresh(0, u64::MAX, 60, 5) && is_fresh(u64::MAX, u64::MAX, 60, 5));
    }
}
