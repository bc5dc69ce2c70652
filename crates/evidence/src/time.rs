//! Points in time. The verifier has no clock: the caller says what time it is.

use std::fmt;

/// A point in time, in whole seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// From seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// Reads `YYYY-MM-DDTHH:MM:SSZ`, the one form of RFC 3339 that vendor collateral uses.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 20 {
            return None;
        }
        let punctuation = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
        if punctuation.iter().any(|(at, expected)| bytes.get(*at) != Some(expected)) {
            return None;
        }
        let field = |from: usize, to: usize| number(bytes.get(from..to)?);
        Self::civil(field(0, 4)?, field(5, 7)?, field(8, 10)?, [field(11, 13)?, field(14, 16)?, field(17, 19)?])
    }

    /// Reads an ASN.1 `UTCTime` (`YYMMDDHHMMSSZ`), as RFC 5280 section 4.1.2.5.1 restricts it.
    pub(crate) fn from_utc_time(bytes: &[u8]) -> Option<Self> {
        let year = number(bytes.get(..2)?)?;
        Self::from_digits(if year < 50 { 2000 + year } else { 1900 + year }, bytes.get(2..)?)
    }

    /// Reads an ASN.1 `GeneralizedTime` (`YYYYMMDDHHMMSSZ`), as RFC 5280 section 4.1.2.5.2 restricts it.
    pub(crate) fn from_generalized_time(bytes: &[u8]) -> Option<Self> {
        Self::from_digits(number(bytes.get(..4)?)?, bytes.get(4..)?)
    }

    /// `MMDDHHMMSSZ` of a given year.
    fn from_digits(year: i64, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != 11 || bytes.get(10) != Some(&b'Z') {
            return None;
        }
        let field = |at: usize| number(bytes.get(at..at + 2)?);
        Self::civil(year, field(0)?, field(2)?, [field(4)?, field(6)?, field(8)?])
    }

    fn civil(year: i64, month: i64, day: i64, [hour, minute, second]: [i64; 3]) -> Option<Self> {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days_in_month = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 => 28 + i64::from(leap),
            _ => return None,
        };
        if !(1..=days_in_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        // Days since 1970-01-01 in the proleptic Gregorian calendar; the year begins in March so that leap days come last.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * month + 2) / 5 + day - 1;
        let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
        Some(Self(days * 86_400 + hour * 3600 + minute * 60 + second))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, seconds) = (self.0.div_euclid(86_400) + 719_468, self.0.rem_euclid(86_400));
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let (day, month) =
            (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// A decimal number of ASCII digits, at most four of them.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn known_instants_are_read_and_written() {
        for (text, unix) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T23:59:59Z", 951_868_799),
            ("2026-11-21T00:00:00Z", 1_795_219_200),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(Time::parse(text), Some(Time(unix)), "{text}");
            assert_eq!(Time(unix).to_string(), text);
        }
        assert_eq!(Time::from_utc_time(b"491231235959Z").map(Time::unix), Some(2_524_607_999));
        assert_eq!(Time::from_utc_time(b"500101000000Z").map(Time::unix), Some(-631_152_000));
        assert_eq!(Time::from_generalized_time(b"20261121000000Z"), Time::parse("2026-11-21T00:00:00Z"));
    }

    #[test]
    fn what_is_not_exactly_a_time_is_refused() {
        for text in [
            "2026-11-21T00:00:00",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-11-21 00:00:00Z",
            "2026-11-21T24:00:00Z",
            "+026-11-21T00:00:00Z",
        ] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
        assert_eq!(Time::from_utc_time(b"2611210000Z"), None);
        assert_eq!(Time::from_utc_time(b"261121000000+"), None);
    }
}
