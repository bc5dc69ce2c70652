//! SIGTERM and SIGINT end the server in order; a second one ends it at once.

use std::io;
use std::sync::Mutex;
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use tokio::sync::oneshot;

use super::socket::SocketFile;
use crate::boot::console::{Console, Event};
use crate::process;

/// Exit status of a process that a signal ended before it served, or that a second signal ended: 128 + SIGTERM.
const EXIT_SIGNAL: i32 = 143;

/// Signals of this process, blocked on this thread and on all it starts: one thread waits for them.
#[derive(Debug, Clone, Copy)]
pub struct Blocked(SigSet);

/// Blocks the signals; before the first thread.
///
/// # Errors
/// The kernel's.
pub fn block() -> io::Result<Blocked> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    Ok(Blocked(signals))
}

/// What a signal does: it ends a process that does not serve yet, and stops one that does.
pub struct Ends {
    stop: Mutex<Option<oneshot::Sender<()>>>,
    /// The socket's file, which must go in either case.
    file: Mutex<Option<SocketFile>>,
}

impl Ends {
    /// Takes charge of the socket's file.
    #[must_use]
    pub fn new(file: Option<SocketFile>) -> &'static Self {
        // For the rest of the process: the waiting thread never ends.
        Box::leak(Box::new(Self { stop: Mutex::new(None), file: Mutex::new(file) }))
    }

    /// From now on the first signal makes the receiver ready instead of ending the process.
    pub fn stop_first(&self) -> oneshot::Receiver<()> {
        let (stop, stopped) = oneshot::channel();
        *lock(&self.stop) = Some(stop);
        stopped
    }

    /// Removes the socket's file.
    pub fn remove_file(&self) {
        drop(lock(&self.file).take());
    }

    fn on_signal(&self, console: Console) {
        console.event(Event::Ending);
        if let Some(stop) = lock(&self.stop).take() {
            let _ = stop.send(());
        } else {
            self.remove_file();
            process::end(EXIT_SIGNAL);
        }
    }
}

/// A thread that panicked while it held the lock ended the process.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Starts the thread that waits.
///
/// # Errors
/// If it cannot be started.
pub fn wait(blocked: Blocked, ends: &'static Ends, console: Console) -> io::Result<()> {
    let waiting = move || {
        while blocked.0.wait().is_ok() {
            ends.on_signal(console);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(waiting).map(drop)
}
