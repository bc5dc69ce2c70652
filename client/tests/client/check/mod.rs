//! `lethe check` and `lethe policy`, as programs: exit status, verdict, claims.

mod corpus;
mod policy;
mod refusals;
mod run;
mod verdicts;
