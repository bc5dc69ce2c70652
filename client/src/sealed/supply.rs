//! Keys that are encapsulated before there is a request: it is the larger part of what sealing costs, and depends on nothing
//! but the gateway's key.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use protocol::{
    hpke::{Aead, Random, Unsealable},
    ohttp::{KeyConfig, Prepared},
};

/// Messages that are kept ready: a burst of requests finds one each.
const MOST: usize = 16;
/// How long no request has come when others are made: those under way have their first token first.
const PAUSE: Duration = Duration::from_millis(200);

/// Prepared messages to one key, each used once. They are gone with the gateway they are for.
pub(super) struct Supply {
    config: KeyConfig,
    aead: Aead,
    ready: Mutex<Vec<Prepared>>,
    /// Whether one was taken since the filling task looked last.
    taken: AtomicBool,
    filling: AtomicBool,
}

impl Supply {
    /// An empty one: a command that asks once prepares nothing.
    pub(super) fn new(config: KeyConfig, aead: Aead) -> Arc<Self> {
        let (taken, filling) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { config, aead, ready: Mutex::default(), taken, filling })
    }

    pub(super) fn config(&self) -> &KeyConfig {
        &self.config
    }

    #[cfg(test)]
    pub(super) fn aead(&self) -> Aead {
        self.aead
    }

    /// A message for one request. Within a runtime others are made when no more requests come.
    ///
    /// # Errors
    /// [`Unsealable`] for a key of low order.
    pub(super) fn take(self: &Arc<Self>) -> Result<Prepared, Unsealable> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).pop();
        self.taken.store(true, Ordering::Release);
        self.fill_later();
        ready.map_or_else(|| self.prepare(), Ok)
    }

    fn prepare(&self) -> Result<Prepared, Unsealable> {
        Prepared::new(&self.config, self.aead, &mut random())
    }

    fn fill_later(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.filling.swap(true, Ordering::AcqRel) {
            return;
        }
        let supply = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(PAUSE).await;
                let Some(supply) = supply.upgrade() else { return };
                if !supply.taken.swap(false, Ordering::AcqRel) && supply.fill() {
                    return;
                }
            }
        });
    }

    /// Makes messages, a few milliseconds' work, until there are enough or a request comes. Says whether there are enough.
    fn fill(&self) -> bool {
        while !self.taken.load(Ordering::Acquire) {
            let Ok(made) = self.prepare() else { return true };
            let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
            ready.push(made);
            if ready.len() >= MOST {
                self.filling.store(false, Ordering::Release);
                return true;
            }
        }
        false
    }
}

/// The kernel's generator. Without random bytes nothing may be sealed, and there is no going on.
fn random() -> Random<impl FnMut(&mut [u8])> {
    Random(|bytes: &mut [u8]| {
        if getrandom::fill(bytes).is_err() {
            std::process::abort();
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use protocol::{
        hpke::{Kem, SecretKey},
        ohttp::{GatewayKey, open_chunked_request},
    };

    use super::*;

    fn gateway() -> GatewayKey {
        GatewayKey { key_id: 1, secret: SecretKey::derive(Kem::XWing, &[1; 32]), aeads: vec![Aead::Aes128Gcm] }
    }

    fn ready(supply: &Supply) -> usize {
        supply.ready.lock().unwrap().len()
    }

    #[tokio::test]
    async fn messages_are_made_ahead_and_each_is_another_that_opens() {
        let gateway = gateway();
        let supply = Supply::new(gateway.config(), Aead::Aes128Gcm);
        let mut messages = vec![supply.take().unwrap()];
        for _ in 0..4 {
            tokio::time::sleep(PAUSE / 2).await;
            messages.push(supply.take().unwrap());
            assert_eq!(ready(&supply), 0, "requests come first");
        }
        while ready(&supply) < MOST {
            tokio::time::sleep(PAUSE).await;
        }
        messages.extend((0..2 * MOST).map(|_| supply.take().unwrap()));
        let sealed: BTreeSet<Vec<u8>> =
            messages.into_iter().map(|message| message.seal(b"request").unwrap().0).collect();
        assert_eq!(sealed.len(), 2 * MOST + 5, "more than are ready, and no key twice");
        assert!(sealed.iter().all(|message| open_chunked_request(&[&gateway], message).is_ok()));
        while ready(&supply) < MOST {
            tokio::time::sleep(PAUSE).await;
        }
        tokio::time::sleep(PAUSE).await;
        assert_eq!(ready(&supply), MOST, "and no more");
    }

    #[test]
    fn without_a_runtime_one_is_made_when_it_is_asked_for() {
        let supply = Supply::new(gateway().config(), Aead::Aes128Gcm);
        assert!(supply.take().is_ok() && supply.take().is_ok());
        assert_eq!(ready(&supply), 0);
    }

    #[tokio::test]
    async fn what_is_ready_goes_with_the_gateway() {
        let supply = Supply::new(gateway().config(), Aead::Aes128Gcm);
        let gone = Arc::downgrade(&supply);
        drop(supply.take());
        drop(supply);
        tokio::time::sleep(3 * PAUSE).await;
        assert!(gone.upgrade().is_none());
    }
}
