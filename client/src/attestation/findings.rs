//! What an examination finds, label by label, while it goes on.

use super::labels::{Labels, Outcome, Subject};
use crate::error::Refusal;

/// Labels, and the refusals in the order in which they were found.
#[derive(Debug)]
pub(super) struct Findings {
    pub(super) labels: Labels,
    refusals: Vec<Refusal>,
}

impl Findings {
    pub(super) fn new() -> Self {
        Self { labels: Labels::unexamined(), refusals: Vec::new() }
    }

    /// Notes that something is proven.
    pub(super) fn accept(&mut self, subject: Subject, reason: impl Into<String>) {
        self.set(subject, Outcome::Accepted, reason.into());
    }

    /// Notes that nothing proves something, and nothing speaks against it.
    pub(super) fn leave(&mut self, subject: Subject, reason: impl Into<String>) {
        self.set(subject, Outcome::NotProven, reason.into());
    }

    /// Notes a contradiction.
    pub(super) fn refuse(&mut self, subject: Subject, refusal: impl Into<Refusal>) {
        let refusal = refusal.into();
        self.set(subject, Outcome::Refused, refusal.to_string());
        self.refusals.push(refusal);
    }

    /// What was refused stays refused, for its first reason.
    fn set(&mut self, subject: Subject, outcome: Outcome, reason: String) {
        if !self.is_refused(subject) {
            self.labels.set(subject, outcome, reason);
        }
    }

    /// Whether something was contradicted.
    pub(super) fn is_refused(&self, subject: Subject) -> bool {
        self.labels.outcome(subject) == Some(Outcome::Refused)
    }

    /// Gives the same reason to everything that was not looked at.
    pub(super) fn leave_the_rest(&mut self, reason: &str) {
        for subject in self.labels.unexamined_subjects() {
            self.leave(subject, reason);
        }
    }

    /// The first refusal; without one, that the first of the demanded labels is not proven.
    pub(super) fn verdict(&self, demanded: &[Subject]) -> Result<(), Refusal> {
        if let Some(refusal) = self.refusals.first() {
            return Err(refusal.clone());
        }
        let unproven =
            self.labels.iter().find(|label| demanded.contains(&label.subject) && label.outcome != Outcome::Accepted);
        match unproven {
            Some(label) => Err(Refusal::NotProven { subject: label.subject, reason: label.reason.clone() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_refusal_decides_and_then_whatever_is_demanded_and_not_proven() {
        let mut findings = Findings::new();
        findings.accept(Subject::Hardware, "good");
        assert_eq!(findings.verdict(&[Subject::Hardware]), Ok(()));
        assert!(matches!(
            findings.verdict(&[Subject::Hardware, Subject::Image]),
            Err(Refusal::NotProven { subject: Subject::Image, .. })
        ));
        findings.refuse(Subject::Keys, Refusal::KeyReused);
        findings.refuse(Subject::Keys, Refusal::KeysetDigest);
        assert_eq!(findings.verdict(&[]), Err(Refusal::KeyReused));
        findings.accept(Subject::Keys, "good after all");
        assert_eq!(findings.labels.outcome(Subject::Keys), Some(Outcome::Refused));
    }
}
