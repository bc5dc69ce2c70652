//! Dispatches: PID 1 boots, any other process follows its command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    let announced = lethe_appliance::process::begin();
    if std::process::id() == 1 {
        lethe_appliance::boot::run();
    }
    lethe_appliance::host::run(&announced)
}
