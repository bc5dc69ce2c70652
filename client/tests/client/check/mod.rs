//! `lethe check` and `lethe policy`, as programs: exit status, verdict, claims.

pub mod corpus;
mod policy;
mod refusals;
mod run;
mod verdicts;
