//! Runs the program.

use std::{
    fmt::Write as _,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;

/// What the program said.
pub struct Said {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// The verdict; its form is checked here, for every test.
    pub fn verdict(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{self}"));
        let names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["verdict", "rule", "reason", "claims"], "{self}");
        match self.status {
            Some(0) => {
                assert_eq!(value["verdict"], "accepted", "{self}");
                assert!(value["rule"].is_null() && value["reason"].is_null(), "{self}");
                assert!(!value["claims"].as_object().unwrap().is_empty(), "{self}");
            }
            Some(3) => {
                assert_eq!(value["verdict"], "refused", "{self}");
                assert!(value["rule"].is_string() && value["reason"].is_string(), "{self}");
                assert!(value["claims"].as_object().unwrap().is_empty(), "{self}");
            }
            _ => panic!("{self}"),
        }
        value
    }

    /// The claims of an acceptance.
    pub fn accepted(&self) -> Value {
        let mut verdict = self.verdict();
        assert_eq!(self.status, Some(0), "{self}");
        verdict["claims"].take()
    }

    /// The rule of a refusal.
    pub fn rule(&self) -> String {
        let verdict = self.verdict();
        assert_eq!(self.status, Some(3), "{self}");
        verdict["rule"].as_str().unwrap().to_owned()
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit status {:?}\n{}\n{}", self.status, self.stdout, self.stderr)
    }
}

/// Runs the program with these arguments, as they are.
pub fn lethe(arguments: &[&str]) -> Said {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_lethe")).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { status: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// A command line that grows.
#[derive(Clone)]
pub struct Line(Vec<String>);

impl Line {
    /// `lethe check PLATFORM --json`
    pub fn check(platform: &str) -> Self {
        Self(vec!["check".to_owned(), platform.to_owned(), "--json".to_owned()])
    }

    pub fn with(mut self, option: &str, value: impl Into<String>) -> Self {
        self.0.push(format!("--{option}"));
        self.0.push(value.into());
        self
    }

    /// An option with a file, if there is one.
    pub fn file(self, option: &str, path: Option<PathBuf>) -> Self {
        match path {
            Some(path) => self.with(option, path.to_str().unwrap()),
            None => self,
        }
    }

    /// Replaces the value of an option that is there.
    pub fn but(mut self, option: &str, value: impl Into<String>) -> Self {
        let place = self.0.iter().position(|word| *word == format!("--{option}")).unwrap();
        self.0[place + 1] = value.into();
        self
    }

    /// The value of an option that is there.
    pub fn value(&self, option: &str) -> String {
        let place = self.0.iter().position(|word| *word == format!("--{option}")).unwrap();
        self.0[place + 1].clone()
    }

    pub fn without(mut self, option: &str) -> Self {
        let place = self.0.iter().position(|word| *word == format!("--{option}")).unwrap();
        self.0.drain(place..place + 2);
        self
    }

    pub fn run(&self) -> Said {
        lethe(&self.0.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The same for people.
    pub fn run_for_people(&self) -> Said {
        let words = self.0.iter().map(String::as_str).filter(|word| *word != "--json");
        lethe(&words.collect::<Vec<_>>())
    }
}

/// A file of PEM.
pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        writeln!(text, "{}", std::str::from_utf8(line).unwrap()).unwrap();
    }
    text + &format!("-----END {label}-----\n")
}
