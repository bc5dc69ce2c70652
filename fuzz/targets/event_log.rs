//! An event log: read to its end or refused, replayed and explained in lines that can be printed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use measurements::event_log::{Log, explain, proof};

fuzz_target!(|data: &[u8]| {
    match Log::parse(data) {
        Ok(log) => {
            assert!(log.end <= data.len() as u64);
            for event in &log.events {
                assert_eq!(event.digests.len(), log.algorithms.len());
                let line = explain(event);
                assert!(!line.is_empty() && !line.chars().any(char::is_control), "{line:?}");
                let _ = proof(event);
            }
            for algorithm in &log.algorithms {
                for register in log.replay(*algorithm) {
                    assert_eq!(Some(register.value.len()), algorithm.length());
                }
            }
        }
        Err(error) => assert!(error.to_string().len() < 300),
    }
});
