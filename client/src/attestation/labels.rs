//! Six separate answers to the question what is proven.

use std::fmt;

use serde::Serialize;

/// What a label is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// A genuine confidential machine, up to date.
    Hardware,
    /// The program that runs in it.
    Image,
    /// The deployment document.
    Configuration,
    /// The weights.
    Model,
    /// The keys of this connection.
    Keys,
    /// That the evidence is of now.
    Freshness,
}

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Proven.
    Accepted,
    /// Contradicted, or against the policy.
    Refused,
    /// Nothing speaks against it, nothing proves it.
    NotProven,
}

/// One subject, its outcome, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// What it is about.
    pub subject: Subject,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, in a sentence for people.
    pub reason: String,
}

/// The six labels, in the order of [`Subject`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Labels(Vec<Label>);

/// What a label says before anything was looked at.
const UNEXAMINED: &str = "not examined";

impl Subject {
    /// Every subject, in order.
    pub const ALL: [Self; 6] =
        [Self::Hardware, Self::Image, Self::Configuration, Self::Model, Self::Keys, Self::Freshness];
}

impl Labels {
    /// Nothing has been looked at.
    #[must_use]
    pub fn unexamined() -> Self {
        let label = |subject| Label { subject, outcome: Outcome::NotProven, reason: UNEXAMINED.to_owned() };
        Self(Subject::ALL.into_iter().map(label).collect())
    }

    /// Notes what became of a subject.
    pub fn set(&mut self, subject: Subject, outcome: Outcome, reason: impl Into<String>) {
        if let Some(label) = self.0.iter_mut().find(|label| label.subject == subject) {
            label.outcome = outcome;
            label.reason = reason.into();
        }
    }

    /// All six.
    pub fn iter(&self) -> impl Iterator<Item = &Label> {
        self.0.iter()
    }

    /// Subjects that nobody has looked at.
    pub(super) fn unexamined_subjects(&self) -> Vec<Subject> {
        self.0.iter().filter(|label| label.reason == UNEXAMINED).map(|label| label.subject).collect()
    }

    /// What became of a subject.
    #[must_use]
    pub fn outcome(&self, subject: Subject) -> Option<Outcome> {
        self.0.iter().find(|label| label.subject == subject).map(|label| label.outcome)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Hardware => "hardware",
            Self::Image => "image",
            Self::Configuration => "configuration",
            Self::Model => "model",
            Self::Keys => "keys",
            Self::Freshness => "freshness",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::NotProven => "not proven",
        })
    }
}
