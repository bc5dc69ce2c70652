//! `lethe policy`: what is asked of evidence, and why.

mod arguments;
mod lines;

use std::{io, path::Path};

use evidence::{Policy, PolicyError};

pub use arguments::PolicyCommand;
use lines::Lines;

use super::{files, speak};
use crate::error::{Error, UsageError};

/// Shows or checks a policy.
///
/// # Errors
/// [`UsageError`] for a name or file that is no policy.
pub fn run(command: &PolicyCommand) -> Result<(), Error> {
    match command {
        PolicyCommand::Show { name } => speak::answer(&lines_of(name, &text_of(name)?)?.toml()),
        PolicyCommand::Check { file } => {
            let name = file.display().to_string();
            speak::answer(&lines_of(&name, &text(file)?)?.summary())
        }
    }
}

/// The built-in policy of this name, or the one in this file.
///
/// # Errors
/// [`UsageError::Policy`] for what is no policy, [`UsageError::File`] for a file that cannot be read.
pub fn load(name: &str) -> Result<Policy, UsageError> {
    Policy::from_toml(&text_of(name)?).map_err(not_a_policy(name))
}

/// What a report calls a policy: a file's own name for itself is not enough.
#[must_use]
pub fn label(name: &str, policy: &Policy) -> String {
    if Policy::embedded_text(name).is_some() { name.to_owned() } else { format!("{}, from {name}", policy.name) }
}

/// A built-in name comes first: a file of that name is written `./standard`.
fn text_of(name: &str) -> Result<String, UsageError> {
    if let Some(text) = Policy::embedded_text(name) {
        return Ok(text.to_owned());
    }
    match text(Path::new(name)) {
        Err(UsageError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Err(not_a_policy(name)(PolicyError::Unknown(name.to_owned())))
        }
        other => other,
    }
}

fn text(path: &Path) -> Result<String, UsageError> {
    String::from_utf8(files::read(path)?).map_err(|error| UsageError::File {
        what: "read",
        path: path.display().to_string(),
        source: io::Error::new(io::ErrorKind::InvalidData, error),
    })
}

fn lines_of(name: &str, text: &str) -> Result<Lines, UsageError> {
    // The verifier's own reading decides; the lines are for people.
    let policy = Policy::from_toml(text).map_err(not_a_policy(name))?;
    Ok(Lines::of(&policy, text))
}

fn not_a_policy(name: &str) -> impl FnOnce(PolicyError) -> UsageError {
    let name = name.to_owned();
    move |source| UsageError::Policy { name, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_the_same_policy_with_its_reasons() {
        for name in Policy::EMBEDDED {
            let shown = lines_of(name, &text_of(name).unwrap()).unwrap().toml();
            assert_eq!(Policy::from_toml(&shown).unwrap(), Policy::embedded(name).unwrap(), "{shown}");
            assert!(!shown.contains("\nextends = "), "{shown}");
        }
    }

    #[test]
    fn the_summary_of_a_policy_names_what_it_replaces() {
        let own = "name = \"own\"\nabout = \"a\"\nextends = \"standard\"\n\
                   [sev_snp]\nproducts = { is = [\"milan\"], because = \"my old machine\" }\n";
        let summary = lines_of("own", own).unwrap().summary();
        assert!(
            summary.contains("sev_snp.products is [\"milan\"], was [\"genoa\", \"turin\"]: my old machine"),
            "{summary}"
        );
        assert_eq!(summary.matches(", was ").count(), 1, "{summary}");
        assert!(matches!(lines_of("own", &own.replace("products", "product")), Err(UsageError::Policy { .. })));
    }
}
