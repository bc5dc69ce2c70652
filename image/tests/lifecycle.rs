//! Machines with stub guests: started, ready, refused, stopped, killed, and never anything left behind.

#![allow(missing_docs, reason = "a test")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests may panic as tests do")]

mod stub;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lethe_image::machine::record::State;
use stub::{Place, READY, Then, end, is_empty, nothing_is_left, processes_of, signal, text};

/// Reads the result of a foreground boot, which then goes on.
fn result(child: &mut Child) -> Vec<String> {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    lines.take(3).map(Result::unwrap).collect()
}

#[test]
fn a_foreground_machine_prints_where_it_answers_and_ends_on_sigterm() {
    let place = Place::with_guest(READY, Then::Halt);
    let mut boot = place.boot(&["--port", "0"]);
    assert_eq!(boot.output().unwrap().status.code(), Some(2), "port 0 is no port");

    let mut child = place.boot(&[]).spawn().unwrap();
    let lines = result(&mut child);
    assert_eq!(lines[0], "name lethe-1");
    assert!(lines[1].starts_with("url  https://127.0.0.1:"), "{lines:?}");
    assert_eq!(lines[2], format!("pin  sha256:{}", "0123456789abcdef".repeat(4)));
    assert!(processes_of(&place).iter().any(|process| process.contains("qemu-system")), "{:?}", processes_of(&place));

    let output = end(child, "TERM");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("lethe: stage console"), "the console is shown");
    nothing_is_left(&place);
    assert!(is_empty(&place.path("state/lethe/machines")), "a machine without a name leaves no directory");
}

#[test]
fn an_interrupt_before_ready_ends_the_machine_too() {
    let place = Place::with_guest("lethe: stage console\n", Then::Halt);
    let child = place.boot(&["--name", "early"]).spawn().unwrap();
    place.wait_for_machine("started", |record| record.qemu.is_some());
    let output = end(child, "INT");
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    nothing_is_left(&place);
    assert_eq!(place.machines()[0].state, State::Stopped);
}

#[test]
fn a_killed_foreground_machine_leaves_no_process() {
    let place = Place::with_guest(READY, Then::Halt);
    let mut child = place.boot(&["--name", "killed"]).spawn().unwrap();
    result(&mut child);
    end(child, "KILL");
    nothing_is_left(&place);
    assert_eq!(place.machines()[0].state, State::Died);
    place.succeed(&["delete", "killed"]);
    assert!(place.machines().is_empty());
}

#[test]
fn what_a_killed_machine_without_a_name_left_is_swept_by_the_next_boot() {
    let place = Place::with_guest(READY, Then::Halt);
    let mut child = place.boot(&[]).spawn().unwrap();
    result(&mut child);
    end(child, "KILL");
    nothing_is_left(&place);
    assert_eq!(place.machines().len(), 1);
    let mut child = place.boot(&[]).spawn().unwrap();
    assert_eq!(result(&mut child)[0], "name lethe-1");
    assert_eq!(place.machines().len(), 1);
    end(child, "TERM");
}

#[test]
fn a_refusal_is_exit_status_three_with_its_reason() {
    let says = "lethe: stage console\nlethe: refused: model-digest the disk holds another model\n";
    let place = Place::with_guest(says, Then::Reset);
    let output = place.boot(&["--name", "wrong"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let errors = text(&output.stderr);
    assert!(
        errors.contains("error: the machine refused to boot: model-digest the disk holds another model"),
        "{errors}"
    );
    assert!(errors.contains("\nhelp: "), "{errors}");
    assert_eq!(output.stdout, b"");
    let machine = &place.machines()[0];
    assert_eq!(machine.state, State::Refused);
    assert_eq!(machine.refused.as_deref(), Some("model-digest the disk holds another model"));
    nothing_is_left(&place);
}

#[test]
fn a_guest_that_refuses_and_does_not_power_off_is_ended() {
    let place = Place::with_guest("lethe: refused: memory too little\n", Then::Halt);
    let start = Instant::now();
    assert_eq!(place.boot(&[]).output().unwrap().status.code(), Some(3));
    assert!(start.elapsed() < Duration::from_secs(30));
    nothing_is_left(&place);
}

#[test]
fn a_guest_that_resets_ends_and_its_last_lines_are_quoted() {
    let place = Place::with_guest("Kernel panic - not syncing: \x1b[31mno init\n", Then::Reset);
    for (extra, prefix) in [(&[][..], ""), (&["--quiet"], "  | ")] {
        let output = place.boot(extra).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let errors = text(&output.stderr);
        assert!(errors.contains(&format!("{prefix}Kernel panic - not syncing: no init\n")), "{errors:?}");
        assert!(!errors.contains('\x1b'), "no escape sequence of the guest reaches the terminal");
    }
    nothing_is_left(&place);
}

#[test]
fn a_guest_that_is_not_ready_in_time_is_exit_status_four() {
    let place = Place::with_guest("lethe: stage console\n", Then::Halt);
    let output = place.boot(&["--ready-timeout", "1", "--quiet"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let errors = text(&output.stderr);
    assert!(errors.contains("  | lethe: stage console\nerror: the machine was not ready after 1 s\n"), "{errors}");
    nothing_is_left(&place);
}

#[test]
fn a_machine_that_dies_after_it_was_ready_is_a_failure() {
    let place = Place::with_guest(READY, Then::Reset);
    let output = place.boot(&["--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("{\"name\":\"lethe-1\",\"state\":\"ready\""), "{}", text(&output.stdout));
}

#[test]
fn a_detached_machine_lives_on_and_is_listed_logged_stopped_and_deleted() {
    let place = Place::with_guest(READY, Then::Halt);
    let output = place.boot(&["--name", "demo", "--detach"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).starts_with("name demo\nurl  https://127.0.0.1:"), "{}", text(&output.stdout));

    let machine = &place.machines()[0];
    assert_eq!((machine.state, machine.spki.is_some()), (State::Ready, true));
    assert!(place.succeed(&["list"]).contains(&machine.url));
    assert!(place.succeed(&["logs", "demo"]).contains("lethe: ready port=8443 ms=2\n"));
    assert_eq!(place.succeed(&["logs", "demo", "--tail", "1"]), "lethe: ready port=8443 ms=2\n");

    let second = place.boot(&["--name", "demo"]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("error: machine demo is running\nhelp: "), "{}", text(&second.stderr));
    assert!(!place.program(&["delete", "demo"]).output().unwrap().status.success(), "a running machine is not deleted");

    assert_eq!(place.succeed(&["stop", "demo"]), "stopped demo\n");
    nothing_is_left(&place);
    assert_eq!(place.machines()[0].state, State::Stopped);
    assert_eq!(place.succeed(&["stop", "demo"]), "demo was not running\n");
    assert_eq!(place.succeed(&["delete", "demo"]), "deleted demo\n");
    assert!(place.machines().is_empty());
    for command in [["stop", "demo"], ["delete", "demo"], ["logs", "demo"]] {
        let output = place.program(&command).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("there is no machine named demo"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_running_machine_is_deleted_by_force() {
    let place = Place::with_guest(READY, Then::Halt);
    assert!(place.boot(&["--name", "demo", "--detach"]).status().unwrap().success());
    place.succeed(&["delete", "demo", "--force"]);
    nothing_is_left(&place);
    assert!(place.machines().is_empty());
}

#[test]
fn a_killed_supervisor_takes_its_machine_with_it() {
    let place = Place::with_guest(READY, Then::Halt);
    assert!(place.boot(&["--name", "demo", "--detach"]).status().unwrap().success());
    let supervisor = place.machines()[0].supervisor.clone().unwrap();
    signal(u32::try_from(supervisor.pid).unwrap(), "KILL");
    nothing_is_left(&place);
    assert_eq!(place.machines()[0].state, State::Died);
}

#[test]
fn a_supervisor_that_does_not_answer_is_killed_by_stop() {
    let place = Place::with_guest(READY, Then::Halt);
    assert!(place.boot(&["--name", "demo", "--detach"]).status().unwrap().success());
    let supervisor = place.machines()[0].supervisor.clone().unwrap();
    signal(u32::try_from(supervisor.pid).unwrap(), "STOP");
    place.succeed(&["stop", "demo", "--timeout", "1"]);
    nothing_is_left(&place);
    assert_eq!(place.machines()[0].state, State::Stopped);
}

#[test]
fn a_detached_boot_that_is_interrupted_or_killed_before_ready_leaves_nothing() {
    for (name, status) in [("TERM", Some(143)), ("KILL", None)] {
        let place = Place::with_guest("lethe: stage console\n", Then::Halt);
        let child = place.boot(&["--name", "demo", "--detach"]).spawn().unwrap();
        place.wait_for_machine("started", |record| record.qemu.is_some());
        assert_eq!(end(child, name).status.code(), status);
        nothing_is_left(&place);
        assert_eq!(place.machines()[0].state, State::Stopped, "{name}");
    }
}

#[test]
fn a_detached_boot_that_is_refused_says_so_itself() {
    let place = Place::with_guest("lethe: refused: document unknown key\n", Then::Reset);
    let output = place.boot(&["--name", "demo", "--detach"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("refused to boot: document unknown key"), "{}", text(&output.stderr));
    nothing_is_left(&place);
}

#[test]
fn following_a_log_ends_with_its_machine() {
    let place = Place::with_guest(READY, Then::Halt);
    assert!(place.boot(&["--name", "demo", "--detach"]).status().unwrap().success());
    let follow = place.program(&["logs", "demo", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    place.succeed(&["stop", "demo"]);
    let output = follow.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("lethe: ready port=8443"), "{}", text(&output.stdout));
}

#[test]
fn the_tpm_emulator_ends_with_its_machine_however_that_ends() {
    for name in ["TERM", "KILL"] {
        let place = Place::with_guest(READY, Then::Halt);
        let mut child = place.boot(&["--tee", "tpm2", "--name", "demo"]).spawn().unwrap();
        result(&mut child);
        let running = processes_of(&place);
        assert!(running.iter().any(|process| process.contains("swtpm socket")), "{running:?}");
        end(child, name);
        nothing_is_left(&place);
    }
}

#[test]
fn a_boot_that_would_be_refused_is_refused_here_first_unless_told_not_to() {
    let place = Place::with_guest(READY, Then::Reset);
    std::fs::write(place.path("model.gguf"), "weightz").unwrap();
    let output = place.boot(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("the model is not the one of the document"), "{}", text(&output.stderr));
    std::fs::write(place.path("config.toml"), "version = 1\nunknown = 2\n").unwrap();
    let output = place.boot(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("unknown"), "{}", text(&output.stderr));
    let output = place.boot(&["--no-check"]).output().unwrap();
    assert!(text(&output.stdout).contains("url  https://"), "{}", text(&output.stderr));
}
