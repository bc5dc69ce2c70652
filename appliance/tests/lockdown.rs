//! The lockdown on real processes: each case runs in a child of this test program, which may be killed.

// UNSAFETY: forbidden system calls are made by hand.
#![expect(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::thread;

use lethe_appliance::lockdown::files::{self, Confinement, Reachable};
use lethe_appliance::lockdown::policy::Profile;
use lethe_appliance::lockdown::{privileges, seccomp, threads};

const CASE: &str = "LETHE_LOCKDOWN_CASE";

/// Runs a case of [`child`] in a process of its own.
fn run(case: &str) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CASE, case)
        .output()
        .unwrap()
        .status
}

/// A child that lived to its end and found what it expected.
#[track_caller]
fn succeeds(case: &str) {
    let status = run(case);
    assert!(status.success(), "{case}: {status}");
}

/// A child that the kernel killed for a system call.
#[track_caller]
fn is_killed(case: &str) {
    let status = run(case);
    assert_eq!(status.signal(), Some(libc::SIGSYS), "{case}: {status}");
}

#[test]
#[ignore = "a case that another test starts in a process of its own"]
fn child() {
    let Ok(case) = std::env::var(CASE) else { return };
    let (profile, call) = case.split_once(' ').unwrap();
    match profile {
        "image" => drop(seccomp::filter(Profile::Image).unwrap()),
        "host" => drop(seccomp::filter(Profile::Host).unwrap()),
        "reports" => drop(seccomp::filter(Profile::ImageWithReports).unwrap()),
        "free" => {}
        _ => unreachable!(),
    }
    // SAFETY: each call gets numbers, null pointers or static strings, and no Rust memory is given up.
    let answer = unsafe {
        match call {
            "nothing" => 0,
            "open" => libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/etc/passwd".as_ptr(), libc::O_RDONLY),
            "open what is there" => {
                let file = libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/dev/null".as_ptr(), libc::O_RDWR);
                libc::c_long::from(file < 0)
            }
            "create" => {
                let flags = libc::O_WRONLY | libc::O_CREAT;
                libc::syscall(libc::SYS_openat, libc::AT_FDCWD, c"/dev/null".as_ptr(), flags, 0)
            }
            "socket" => libc::syscall(libc::SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0),
            "connect" => libc::syscall(libc::SYS_connect, 0, 0, 0),
            "bind" => libc::syscall(libc::SYS_bind, 0, 0, 0),
            "execve" => libc::syscall(libc::SYS_execve, c"/bin/true".as_ptr(), 0, 0),
            "fork" => libc::syscall(libc::SYS_fork),
            "clone a process" => libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0),
            "ptrace" => libc::syscall(libc::SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0),
            "map executable" => map(libc::PROT_READ | libc::PROT_EXEC),
            "make executable" => {
                let page = map(libc::PROT_READ | libc::PROT_WRITE);
                libc::syscall(libc::SYS_mprotect, page, 4096, libc::PROT_READ | libc::PROT_EXEC)
            }
            "prctl dumpable" => libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1, 0, 0, 0),
            "ioctl" => libc::syscall(libc::SYS_ioctl, 0, libc::TIOCSTI, c"x".as_ptr()),
            // The lower half of the argument is an allowed request, the upper half is not empty.
            "ioctl with a high half" => libc::syscall(libc::SYS_ioctl, 0, libc::FIONBIO | (1 << 32), 0),
            "reboot" => libc::syscall(libc::SYS_reboot, 0, 0, 0, 0),
            "another filter" => libc::syscall(libc::SYS_seccomp, 0, 0, 0),
            "unlink" => libc::syscall(libc::SYS_unlink, c"/nonexistent/file".as_ptr()) + 1,
            "a signal to another process" => libc::syscall(libc::SYS_kill, 1, 0),
            "clone3" => {
                let refused = libc::syscall(libc::SYS_clone3, 0, 0) == -1 && *libc::__errno_location() == libc::ENOSYS;
                libc::c_long::from(!refused)
            }
            "threads and memory" => libc::c_long::from(!threads_and_memory_work()),
            "files" => libc::c_long::from(!only_listed_files_open()),
            "report files" => libc::c_long::from(!only_report_files_are_written()),
            "host privileges" => libc::c_long::from(!alone(host_mode_renounces)),
            "image privileges" => libc::c_long::from(!alone(a_thread_started_before_loses_privileges)),
            _ => unreachable!(),
        }
    };
    // SAFETY: ends the process at once; the test harness' own way out uses calls that the policy forbids.
    unsafe { libc::_exit(i32::from(answer != 0)) }
}

/// One page with this protection, by its address.
fn map(protection: i32) -> libc::c_long {
    // SAFETY: a fresh anonymous mapping that nothing else refers to.
    unsafe { libc::syscall(libc::SYS_mmap, 0, 4096, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) }
}

fn threads_and_memory_work() -> bool {
    let (sender, receiver) = mpsc::channel();
    let workers: Vec<_> = (0..4_u8)
        .map(|worker| {
            let sender = sender.clone();
            thread::Builder::new()
                .name(format!("worker-{worker}"))
                .spawn(move || {
                    let mut bytes = vec![worker; 10_000_000];
                    bytes.resize(30_000_000, worker);
                    bytes.shrink_to(1000);
                    sender.send(bytes.iter().all(|byte| *byte == worker)).unwrap();
                })
                .unwrap()
        })
        .collect();
    let all = receiver.iter().take(4).all(|worked| worked);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    all
}

/// `/proc/self` is listed; the binary itself, and any other place, is not.
fn only_listed_files_open() -> bool {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
    let reachable = Reachable {
        read: vec![PathBuf::from("/proc")],
        reports: None,
        socket_directory: None,
        bind: Some(free.port()),
    };
    if files::confine(&reachable, false).unwrap() == Confinement::None {
        eprintln!("this kernel has no Landlock: nothing to see");
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let writable = fs::write(std::env::temp_dir().join("lethe-landlock-test"), "x");
    fs::read("/proc/self/status").is_ok()
        && fs::read(program).is_err()
        && fs::read_dir("/").is_err()
        && writable.is_err()
        && thread::spawn(|| fs::read("/etc/passwd").is_err()).join().unwrap()
        && std::net::TcpListener::bind("127.0.0.1:0").is_err()
        && std::net::TcpListener::bind(free).is_ok()
}

/// The directory of reports is a descriptor: its files are written though its path is gone, and no other file is.
fn only_report_files_are_written() -> bool {
    let parent = std::env::temp_dir().join(format!("lethe-reports-{}", std::process::id()));
    let (entry, moved) = (parent.join("entry"), parent.join("moved"));
    fs::create_dir_all(&entry).unwrap();
    fs::write(entry.join("inblob"), "").unwrap();
    fs::write(parent.join("other"), "").unwrap();
    let directory = fs::File::open(&entry).unwrap();
    fs::rename(&entry, &moved).unwrap();
    let read = vec![PathBuf::from("/proc")];
    let reachable = Reachable { read, reports: Some(directory.as_fd()), socket_directory: None, bind: None };
    if files::confine(&reachable, false).unwrap() == Confinement::None {
        eprintln!("this kernel has no Landlock: nothing to see");
        return true;
    }
    let write = |path: &std::path::Path| fs::OpenOptions::new().write(true).open(path).is_ok();
    let beneath = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    write(&beneath.join("inblob"))
        && fs::read(beneath.join("inblob")).is_ok()
        && fs::write(beneath.join("new"), "x").is_err()
        && fs::create_dir(beneath.join("new")).is_err()
        && fs::remove_file(beneath.join("inblob")).is_err()
        && !write(&parent.join("other"))
}

/// Runs `case` in a fork, whose only thread is this one: the test harness has another, which keeps its privileges.
fn alone(case: fn() -> bool) -> bool {
    // SAFETY: the child uses the C library's heap, which fork leaves usable, starts threads of its own, and ends with
    // _exit; it waits for none of the threads that it does not have.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(i32::from(!case()));
        }
        let mut status = -1;
        libc::waitpid(child, &raw mut status, 0) == child && status == 0
    }
}

fn host_mode_renounces() -> bool {
    let before = !is_root() || threads::check(&threads::CONFINED_HOST).is_err();
    let _proof = privileges::renounce_in_host_mode().unwrap();
    before && thread::spawn(|| threads::check(&threads::CONFINED_HOST).is_ok()).join().unwrap()
}

fn a_thread_started_before_loses_privileges() -> bool {
    let renounced = privileges::renounce().unwrap();
    let (go, wait) = mpsc::channel::<()>();
    let early = thread::spawn(move || {
        wait.recv().unwrap();
        // SAFETY: takes numbers only.
        unsafe { libc::setuid(0) != 0 && libc::getuid() != 0 }
    });
    let before = threads::check(&threads::CONFINED).is_err();
    privileges::change_user(&renounced).unwrap();
    let after = threads::check(&threads::CONFINED).is_ok_and(|threads| threads >= 2);
    go.send(()).unwrap();
    before && after && early.join().unwrap()
}

fn is_root() -> bool {
    // SAFETY: takes and touches nothing.
    unsafe { libc::geteuid() == 0 }
}

#[test]
fn calls_outside_the_policy_kill_the_process() {
    for call in [
        "open",
        "socket",
        "connect",
        "bind",
        "execve",
        "fork",
        "clone a process",
        "ptrace",
        "map executable",
        "make executable",
        "prctl dumpable",
        "ioctl",
        "ioctl with a high half",
        "reboot",
        "another filter",
        "a signal to another process",
    ] {
        is_killed(&format!("image {call}"));
        is_killed(&format!("host {call}"));
    }
}

/// The twin: without the policy the same calls do not kill, so it is the policy that does.
#[test]
fn the_same_calls_without_the_policy_do_not_kill() {
    for call in ["open", "socket", "connect", "bind", "map executable", "make executable", "prctl dumpable", "ioctl"] {
        assert_eq!(run(&format!("free {call}")).signal(), None, "{call}");
    }
}

#[test]
fn what_serving_needs_goes_on_under_the_policy() {
    for profile in ["image", "host"] {
        succeeds(&format!("{profile} nothing"));
        succeeds(&format!("{profile} threads and memory"));
        succeeds(&format!("{profile} clone3"));
    }
}

#[test]
fn only_host_mode_may_remove_a_file() {
    succeeds("host unlink");
    is_killed("image unlink");
}

#[test]
fn landlock_leaves_only_what_is_listed() {
    succeeds("free files");
}

#[test]
fn a_machine_that_is_asked_for_reports_opens_their_files_and_makes_none() {
    succeeds("reports open what is there");
    is_killed("reports create");
    is_killed("image open what is there");
    is_killed("host open what is there");
    succeeds("free report files");
}

#[test]
fn host_mode_keeps_no_capability() {
    succeeds("free host privileges");
}

#[test]
fn a_thread_that_existed_before_the_lockdown_loses_its_privileges_too() {
    if !is_root() {
        eprintln!("skipped: only root has privileges to lose");
        return;
    }
    succeeds("free image privileges");
}
