//! What a release says about a register: [`crate::register`] in a form that is written and read.

use serde::{Deserialize, Serialize};

use crate::register::{Bank, Prediction};

/// What is known about a register whose digests have the form `D`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Register<D> {
    /// It has one of these values, each under its own condition.
    Values(Vec<Conditional<D>>),
    /// The release's files do not decide it.
    Unpredictable(Unpredictable<D>),
}

/// A value and its condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conditional<D> {
    /// Under which condition, in words.
    pub when: String,
    /// The value.
    pub value: D,
}

/// Why there is no value, and what a verifier looks at instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unpredictable<D> {
    /// Why.
    pub reason: String,
    /// How a verifier judges it instead.
    pub judge: String,
    /// Events that its log must have nevertheless.
    pub events: Vec<Event<D>>,
}

/// One event of a register's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event<D> {
    /// The kind a log gives it, by its name in the TCG's specifications.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is, in one line.
    pub what: String,
    /// What the register is extended with.
    pub digest: D,
}

impl<B: Bank, D: From<B>> From<Prediction<B>> for Register<D> {
    fn from(prediction: Prediction<B>) -> Self {
        match prediction {
            Prediction::Values(candidates) => Self::Values(
                candidates
                    .into_iter()
                    .map(|found| Conditional { when: found.when, value: found.value.into() })
                    .collect(),
            ),
            Prediction::Unpredictable { reason, judge, events } => {
                let event = |event: crate::register::Expected<B>| Event {
                    kind: event.kind.to_string(),
                    what: event.what,
                    digest: event.digest.into(),
                };
                Self::Unpredictable(Unpredictable { reason, judge, events: events.into_iter().map(event).collect() })
            }
        }
    }
}

impl<D> Register<D> {
    /// The values it can have; none where it is unpredictable.
    pub fn values(&self) -> impl Iterator<Item = &D> {
        let values = match self {
            Self::Values(values) => values.as_slice(),
            Self::Unpredictable(_) => &[],
        };
        values.iter().map(|conditional| &conditional.value)
    }
}
