//! A day of the Gregorian calendar, and Python's `strftime` of its midnight.

use std::{fmt::Write, str::FromStr};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A day, read from `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

/// A text is not a day of the form `YYYY-MM-DD`, from 1000 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a day of the form YYYY-MM-DD")]
pub struct DateError;

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let shape = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let mut parts = text.split('-');
        let (Some(year), Some(month), Some(day), None, true) =
            (parts.next(), parts.next(), parts.next(), parts.next(), shape)
        else {
            return Err(DateError);
        };
        if (year.len(), month.len(), day.len()) != (4, 2, 2) {
            return Err(DateError);
        }
        let year = year.parse::<u16>().map_err(|_| DateError)?;
        let month = month.parse::<u8>().map_err(|_| DateError)?;
        let day = day.parse::<u8>().map_err(|_| DateError)?;
        if year < 1000 || !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
            return Err(DateError);
        }
        Ok(Self { year, month, day })
    }
}

fn is_leap(year: u16) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

fn days_in(year: u16, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

impl Date {
    /// Day of the year, from 1.
    fn ordinal(self) -> u16 {
        (1..self.month).map(|month| u16::from(days_in(self.year, month))).sum::<u16>() + u16::from(self.day)
    }

    /// Days since Monday: 0 to 6.
    fn weekday(self) -> u16 {
        let before = u32::from(self.year) - 1;
        let days = before * 365 + before / 4 - before / 100 + before / 400 + u32::from(self.ordinal());
        // 1 January of year 1 was a Monday.
        u16::try_from((days - 1) % 7).unwrap_or(0)
    }

    /// Year and week of ISO 8601: the week belongs to the year that has its Thursday.
    fn iso_week(self) -> (u16, u16) {
        let week = (self.ordinal() + 9 - self.weekday()) / 7;
        let weeks_in = |year: u16| {
            let first = Self { year, month: 1, day: 1 }.weekday();
            if first == 3 || (first == 2 && is_leap(year)) { 53 } else { 52 }
        };
        if week == 0 {
            (self.year - 1, weeks_in(self.year - 1))
        } else if week > weeks_in(self.year) {
            (self.year + 1, 1)
        } else {
            (self.year, week)
        }
    }

    /// Formats midnight of this day as Python's `datetime.strftime` does in the C locale, without a time zone.
    ///
    /// As in glibc, `-` after the percent sign leaves leading zeros out, `_` makes them spaces, and an unknown
    /// directive stays as it is written.
    #[must_use]
    pub fn strftime(self, format: &str) -> String {
        let mut out = String::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            let (before, directive) = rest.split_at(at);
            out.push_str(before);
            let mut letters = directive.chars().skip(1).peekable();
            let flag = letters.next_if(|letter| matches!(letter, '-' | '_' | '0' | '^'));
            let letter = letters.next();
            let length = 1 + usize::from(flag.is_some()) + letter.map_or(0, char::len_utf8);
            match letter.and_then(|letter| self.directive(letter, flag)) {
                Some(text) => out.push_str(&text),
                None => out.push_str(directive.get(..length).unwrap_or(directive)),
            }
            rest = directive.get(length..).unwrap_or_default();
        }
        out.push_str(rest);
        out
    }

    fn directive(self, letter: char, flag: Option<char>) -> Option<String> {
        let number = |value: u16, width: usize, pad: char| {
            let mut text = String::new();
            let written = match (flag.unwrap_or(pad), width) {
                ('-', _) => write!(text, "{value}"),
                ('_', width) => write!(text, "{value:width$}"),
                (_, width) => write!(text, "{value:0width$}"),
            };
            written.ok().map(|()| text)
        };
        let name = |text: &str| Some(if flag == Some('^') { text.to_uppercase() } else { text.to_owned() });
        let month = MONTHS.get(usize::from(self.month) - 1).copied().unwrap_or_default();
        let weekday = WEEKDAYS.get(usize::from(self.weekday())).copied().unwrap_or_default();
        let sunday_based = (self.weekday() + 1) % 7;
        let (iso_year, iso_week) = self.iso_week();
        match letter {
            'Y' => number(self.year, 4, '0'),
            'C' => number(self.year / 100, 2, '0'),
            'y' => number(self.year % 100, 2, '0'),
            'G' => number(iso_year, 4, '0'),
            'g' => number(iso_year % 100, 2, '0'),
            'm' => number(u16::from(self.month), 2, '0'),
            'd' => number(u16::from(self.day), 2, '0'),
            'e' => number(u16::from(self.day), 2, '_'),
            'j' => number(self.ordinal(), 3, '0'),
            'V' => number(iso_week, 2, '0'),
            'U' => number((self.ordinal() + 6 - sunday_based) / 7, 2, '0'),
            'W' => number((self.ordinal() + 6 - self.weekday()) / 7, 2, '0'),
            'u' => number(self.weekday() + 1, 1, '0'),
            'w' => number(sunday_based, 1, '0'),
            'H' | 'M' | 'S' => number(0, 2, '0'),
            'k' => number(0, 2, '_'),
            'I' => number(12, 2, '0'),
            'l' => number(12, 2, '_'),
            'f' => Some("000000".to_owned()),
            'B' => name(month),
            'b' | 'h' => name(month.get(..3).unwrap_or_default()),
            'A' => name(weekday),
            'a' => name(weekday.get(..3).unwrap_or_default()),
            'p' => Some("AM".to_owned()),
            'P' => Some("am".to_owned()),
            'F' => Some(self.strftime("%Y-%m-%d")),
            'D' | 'x' => Some(self.strftime("%m/%d/%y")),
            'T' | 'X' => Some(self.strftime("%H:%M:%S")),
            'R' => Some(self.strftime("%H:%M")),
            'r' => Some(self.strftime("%I:%M:%S %p")),
            'c' => Some(self.strftime("%a %b %e %H:%M:%S %Y")),
            'Z' | 'z' => Some(String::new()),
            'n' => Some("\n".to_owned()),
            't' => Some("\t".to_owned()),
            '%' => Some("%".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_strictly() {
        for right in ["2026-01-01", "2024-02-29", "2000-02-29", "9999-12-31"] {
            assert!(right.parse::<Date>().is_ok(), "{right}");
        }
        for wrong in [
            "2026-1-1",
            "2026-02-29",
            "1900-02-29",
            "2026-13-01",
            "2026-00-10",
            "26-01-01",
            "2026-04-31",
            "2026-01-01 ",
            "+026-01-01",
            "2026/01/01",
            "",
            "2026-01-00",
            "0999-01-01",
        ] {
            assert_eq!(wrong.parse::<Date>(), Err(DateError), "{wrong}");
        }
    }
}
