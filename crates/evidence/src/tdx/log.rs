//! The firmware's event log (CCEL) behind the runtime registers, replayed. Rule T9.

use measurements::event_log::{Algorithm, Log, Registers};

use super::Verified;
use crate::{Refusal, Rule, cursor::all_zero};

/// Largest event log read, in bytes.
const MAX_LOG_BYTES: usize = 1 << 20;
/// Number of RTMR0 in a log; 0 is MRTD.
const FIRST_REGISTER: u32 = 1;
/// RTMR0 to RTMR2 are what the log makes of them, or zero; RTMR3 belongs to the guest, whose extensions the firmware's log
/// lacks, and is compared only if the log speaks of it.
const FIRMWARE_REGISTERS: usize = 3;

impl Verified {
    /// Replays an event log against the runtime registers of this quote: RTMR0 to RTMR2, and RTMR3 if the log has events for it.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under T9 for a log that is malformed, or leads to other registers.
    pub fn replay(&self, event_log: &[u8]) -> Result<(), Refusal> {
        replay(event_log, self.rtmr())
    }
}

fn replay(event_log: &[u8], quoted: &[[u8; 48]; 4]) -> Result<(), Refusal> {
    Rule::T9.require(event_log.len() <= MAX_LOG_BYTES, "the event log is too large")?;
    let log = Log::parse(event_log).map_err(|error| Rule::T9.refuse(format!("the event log is malformed: {error}")))?;
    Rule::T9.require(log.registers() == Registers::Rtmr, "the event log is not one of TDX")?;
    let replayed = log.replay(Algorithm::Sha384);
    for ((place, value), index) in quoted.iter().enumerate().zip(FIRST_REGISTER..) {
        let holds = match replayed.iter().find(|register| register.index == index) {
            Some(register) => register.value == value,
            None => place >= FIRMWARE_REGISTERS || all_zero(value),
        };
        if !holds {
            return Err(Rule::T9.refuse(format!("the event log does not replay to RTMR{place}")));
        }
    }
    let last = FIRST_REGISTER + 3;
    let known = replayed.iter().all(|register| (FIRST_REGISTER..=last).contains(&register.index));
    Rule::T9.require(known, "the event log speaks of registers that a quote does not have")
}
