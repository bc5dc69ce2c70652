//! Kernel settings as text: fragments and policy on one side, the resolved `.config` on the other.

use std::collections::BTreeMap;
use std::fmt;

/// Prefix of every name.
const PREFIX: &str = "CONFIG_";

/// What a setting is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `# CONFIG_X is not set`, or not mentioned at all in a resolved configuration.
    Off,
    /// The text behind the equals sign, quotes included.
    Is(String),
}

/// Settings by name.
pub type Settings = BTreeMap<String, Value>;

/// Why a text is no list of settings.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Neither a setting, nor a comment, nor empty.
    #[error("line {line} is no setting and no comment")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// The same name twice: one of the two would have no effect.
    #[error("{name} is set a second time in line {line}")]
    Twice {
        /// The setting.
        name: String,
        /// Counted from 1.
        line: usize,
    },
}

/// One setting that is not as wanted.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    /// The setting.
    pub name: String,
    /// What was wanted.
    pub wanted: Value,
    /// What the resolved configuration has.
    pub found: Value,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, wanted, found } = self;
        write!(f, "{name}: wanted {wanted}, found {found}")
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Is(text) => f.write_str(text),
        }
    }
}

/// Reads settings; comments explain them and are skipped.
///
/// # Errors
/// [`SettingsError`] for a line that is neither, or a name set twice.
pub fn parse(text: &str) -> Result<Settings, SettingsError> {
    let mut settings = Settings::new();
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        let Some((name, value)) = setting(line).map_err(|()| SettingsError::Line { line: line_number })? else {
            continue;
        };
        if settings.insert(name.to_owned(), value).is_some() {
            return Err(SettingsError::Twice { name: name.to_owned(), line: line_number });
        }
    }
    Ok(settings)
}

fn setting(line: &str) -> Result<Option<(&str, Value)>, ()> {
    if let Some(comment) = line.strip_prefix('#') {
        let off =
            comment.strip_prefix(' ').and_then(|text| text.strip_suffix(" is not set")).filter(|name| is_name(name));
        return match off {
            Some(name) => Ok(Some((name, Value::Off))),
            // `#CONFIG_X=y` or a mistyped "is not set" would look like a setting and be none.
            None if comment.trim_start().starts_with(PREFIX) => Err(()),
            None => Ok(None),
        };
    }
    if line.is_empty() {
        return Ok(None);
    }
    match line.split_once('=') {
        Some((name, value)) if is_name(name) && !value.is_empty() && value != "n" => {
            Ok(Some((name, Value::Is(value.to_owned()))))
        }
        _ => Err(()),
    }
}

fn is_name(text: &str) -> bool {
    let rest = text.strip_prefix(PREFIX).unwrap_or_default();
    !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Every wanted setting that the resolved configuration does not have.
#[must_use]
pub fn differences(wanted: &Settings, resolved: &Settings) -> Vec<Difference> {
    let found = |name: &String| resolved.get(name).cloned().unwrap_or(Value::Off);
    wanted
        .iter()
        .filter(|(name, value)| found(name) != **value)
        .map(|(name, value)| Difference { name: name.clone(), wanted: value.clone(), found: found(name) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_reasons_are_told_apart() {
        let text = "# why X is on\nCONFIG_X=y\n\n# CONFIG_Y is not set\nCONFIG_Z=\"a=b\"\n";
        let expected =
            [("CONFIG_X", Value::Is("y".into())), ("CONFIG_Y", Value::Off), ("CONFIG_Z", Value::Is("\"a=b\"".into()))];
        assert_eq!(parse(text), Ok(expected.map(|(name, value)| (name.to_owned(), value)).into()));
    }

    #[test]
    fn lines_that_only_look_like_settings_are_refused() {
        for line in [
            "CONFIG_X",
            "X=y",
            "CONFIG_X=",
            "CONFIG_X=n",
            " CONFIG_X=y",
            "#CONFIG_X=y",
            "# CONFIG_X is not  set",
            "# CONFIG_X is unset",
        ] {
            assert_eq!(parse(line), Err(SettingsError::Line { line: 1 }), "{line}");
        }
    }

    #[test]
    fn setting_given_twice_is_refused() {
        let error = parse("CONFIG_X=y\n# CONFIG_X is not set\n").unwrap_err();
        assert_eq!(error, SettingsError::Twice { name: "CONFIG_X".into(), line: 2 });
    }

    #[test]
    fn what_a_resolved_configuration_does_not_mention_is_off() {
        let wanted = parse("# CONFIG_X is not set\n").unwrap();
        assert_eq!(differences(&wanted, &Settings::new()), []);
    }

    #[test]
    fn each_difference_is_named() {
        let wanted = parse("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=64\nCONFIG_D=y\n").unwrap();
        let resolved = parse("# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=65\nCONFIG_D=y\n").unwrap();
        let found: Vec<String> = differences(&wanted, &resolved).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["CONFIG_A: wanted y, found off", "CONFIG_B: wanted off, found y", "CONFIG_C: wanted 64, found 65"]
        );
    }
}
