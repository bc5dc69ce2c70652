//! The only lines that serving writes: an allow-list. No variant can hold a client's text.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

/// Random id of a request: the only thing of it that an event shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub [u8; 16]);

impl RequestId {
    /// A new id.
    ///
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        Ok(Self(id))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// How far an answer got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// To its last byte.
    Complete,
    /// The client, a time limit or a shutdown ended it.
    Aborted,
}

/// Something an operator may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request ended.
    Request {
        /// Its random id.
        id: RequestId,
        /// The route's name, or `none`.
        route: &'static str,
        /// The status; `None` where it ended before one was known.
        status: Option<u16>,
        /// How far the answer got.
        outcome: Outcome,
        /// From its first header byte read to its last body byte handed over, in milliseconds.
        ms: u64,
    },
    /// An epoch began: its keys seal from now on, and those of the one before it open until their grace is over.
    Epoch {
        /// Its number in this boot.
        number: u64,
    },
    /// The machine gave no evidence for the epoch that comes next.
    NoEvidence,
    /// The next epoch cannot be made, and the present one goes on.
    NoEpoch {
        /// How long it goes on after its end already, in seconds.
        late_s: u64,
    },
    /// A connection was closed because as many as the document allows are open.
    ConnectionsFull,
    /// A socket could not be accepted; the error number of the system call.
    AcceptFailed {
        /// `errno`, 0 where there is none.
        errno: i32,
    },
    /// An operator's message was accepted.
    Secrets {
        /// Its counter.
        counter: u64,
        /// Secrets that are held now.
        held: usize,
    },
    /// Secrets of an earlier boot were opened.
    Unsealed,
    /// The host gave a file with sealed secrets, and it does not open here.
    NotUnsealed,
    /// No more connections are accepted; open ones are ended.
    Stopping,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request { id, route, status, outcome, ms } => {
                let outcome = match outcome {
                    Outcome::Complete => "complete",
                    Outcome::Aborted => "aborted",
                };
                let status = status.map_or_else(|| "-".to_owned(), |status| status.to_string());
                write!(f, "request id={id} route={route} status={status} outcome={outcome} ms={ms}")
            }
            Self::Epoch { number } => write!(f, "epoch number={number}"),
            Self::NoEvidence => f.write_str("no-evidence"),
            Self::NoEpoch { late_s } => write!(f, "no-epoch late_s={late_s}"),
            Self::ConnectionsFull => f.write_str("connections-full"),
            Self::AcceptFailed { errno } => write!(f, "accept-failed errno={errno}"),
            Self::Secrets { counter, held } => write!(f, "secrets counter={counter} held={held}"),
            Self::Unsealed => f.write_str("unsealed"),
            Self::NotUnsealed => f.write_str("not-unsealed"),
            Self::Stopping => f.write_str("stopping"),
        }
    }
}

/// Where events go. Must not block: it is called from the server's threads.
pub trait EventSink: Send + Sync + 'static {
    /// Takes an event.
    fn event(&self, event: Event);
}

/// Writes events as lines `lethe: event …`, from a thread of its own: a serial console takes milliseconds a line, and
/// a flood of refused requests must not make the server wait for it. What does not fit the queue is counted and dropped.
pub struct Console {
    queue: SyncSender<Event>,
    dropped: Arc<AtomicU64>,
}

impl Console {
    /// Starts the thread, which ends when the sink is dropped.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub fn start(output: impl Write + Send + 'static) -> std::io::Result<Self> {
        const QUEUED: usize = 256;
        let (queue, events) = sync_channel(QUEUED);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        std::thread::Builder::new().name("events".to_owned()).spawn(move || write_events(output, &events, &counter))?;
        Ok(Self { queue, dropped })
    }
}

impl EventSink for Console {
    fn event(&self, event: Event) {
        if let Err(TrySendError::Full(_)) = self.queue.try_send(event) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_events(mut output: impl Write, events: &Receiver<Event>, dropped: &AtomicU64) {
    for event in events {
        let missed = dropped.swap(0, Ordering::Relaxed);
        // one write a line, so that lines of other writers do not get in between; nobody is left to tell of a failure
        let mut line = format!("lethe: event {event}\n");
        if missed > 0 {
            line.push_str(&format!("lethe: event dropped count={missed}\n"));
        }
        let _ = output.write_all(line.as_bytes()).and_then(|()| output.flush());
    }
}
