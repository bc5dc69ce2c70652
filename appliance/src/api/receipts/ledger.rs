//! The receipts that can be fetched: bounded in time and number, in memory alone.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use protocol::Sha256Digest;
use protocol::legacy;
use protocol::receipt::{Chain, Receipt};

use super::super::call::Tenant;

/// A receipt and who may have it.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub json: String,
    pub owner: Tenant,
    /// What the older verifiers' signatures are over; nothing where the answer is none, or did not end by itself.
    pub text: Option<String>,
}

/// What a receipt is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// An answer, which cost the engine something.
    Answer,
    /// A refusal, which costs nothing: whoever is refused in a loop pushes out other refusals, and no answer's receipt.
    Refusal,
}

/// The receipts of one kind, in the order in which they were filed, each with the id of its answer.
struct Shelf {
    most: usize,
    order: VecDeque<(Instant, String, Option<String>)>,
}

/// All of them.
pub(super) struct Ledger {
    life: Duration,
    kept: HashMap<String, Kept>,
    /// From the `id` of an answer to that of its receipt.
    ids: HashMap<String, String>,
    answers: Shelf,
    refusals: Shelf,
    /// The keyset of the chains below.
    keyset: Option<Sha256Digest>,
    chains: HashMap<[u8; 32], Arc<Mutex<Chain>>>,
}

/// Most tenants with a chain at a time; more can only be devices.
const CHAINS: usize = 65_536;

/// For so many receipts of answers there is room for one of a refusal.
const REFUSALS_SHARE: usize = 16;

impl Ledger {
    /// Room for `most` receipts of answers, and for a sixteenth of that of refusals.
    pub(super) fn new(life: Duration, most: usize) -> Self {
        let shelf = |most: usize| Shelf { most: most.max(1), order: VecDeque::new() };
        let (answers, refusals) = (shelf(most), shelf(most / REFUSALS_SHARE));
        let (kept, ids) = (HashMap::new(), HashMap::new());
        Self { life, kept, ids, answers, refusals, keyset: None, chains: HashMap::new() }
    }

    /// The chain of a tenant under a keyset; chains begin anew with each. Nobody in particular has none: it would tell each of
    /// many how often the others asked.
    pub(super) fn chain(&mut self, tenant: Tenant, keyset: Sha256Digest) -> Option<Arc<Mutex<Chain>>> {
        if self.keyset != Some(keyset) {
            self.keyset = Some(keyset);
            self.chains.clear();
        }
        let tenant = tenant.0?;
        if self.chains.len() >= CHAINS && !self.chains.contains_key(&tenant) {
            return None;
        }
        Some(Arc::clone(self.chains.entry(tenant).or_default()))
    }

    /// Keeps a receipt; the oldest of its kind make room.
    pub(super) fn file(&mut self, kind: Kind, id: String, chat_id: Option<String>, kept: Kept, now: Instant) {
        self.forget(now);
        while self.shelf(kind).order.len() >= self.shelf(kind).most {
            self.drop_oldest(kind);
        }
        if let Some(chat_id) = &chat_id {
            self.ids.insert(chat_id.clone(), id.clone());
        }
        self.kept.insert(id.clone(), kept);
        self.shelf(kind).order.push_back((now, id, chat_id));
    }

    /// The receipt with this id, or of the answer with this id.
    pub(super) fn find(&mut self, id: &str, now: Instant) -> Option<&Kept> {
        self.forget(now);
        let id = self.ids.get(id).map_or(id, String::as_str);
        self.kept.get(id)
    }

    /// How many there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.kept.len()
    }

    const fn shelf(&mut self, kind: Kind) -> &mut Shelf {
        match kind {
            Kind::Answer => &mut self.answers,
            Kind::Refusal => &mut self.refusals,
        }
    }

    fn forget(&mut self, now: Instant) {
        let life = self.life;
        for kind in [Kind::Answer, Kind::Refusal] {
            while self.shelf(kind).order.front().is_some_and(|(filed, ..)| *filed + life <= now) {
                self.drop_oldest(kind);
            }
        }
    }

    fn drop_oldest(&mut self, kind: Kind) {
        if let Some((_, id, chat_id)) = self.shelf(kind).order.pop_front() {
            self.kept.remove(&id);
            chat_id.and_then(|chat_id| self.ids.remove(&chat_id));
        }
    }
}

impl Kept {
    pub(super) fn new(receipt: &Receipt, owner: Tenant, exchange: Option<(Sha256Digest, Sha256Digest)>) -> Self {
        let text = exchange.map(|(request, response)| legacy::text(request, response));
        Self { json: receipt.json().to_owned(), owner, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(json: &str) -> Kept {
        Kept { json: json.to_owned(), owner: Tenant(None), text: None }
    }

    fn file(ledger: &mut Ledger, number: usize, now: Instant) {
        let chat_id = Some(format!("c{number}"));
        ledger.file(Kind::Answer, format!("r{number}"), chat_id, kept(&number.to_string()), now);
    }

    #[test]
    fn a_receipt_is_found_by_either_id_until_its_time_is_over() {
        let (mut ledger, start) = (Ledger::new(Duration::from_secs(10), 4), Instant::now());
        file(&mut ledger, 1, start);
        let just = start + Duration::from_millis(9999);
        assert_eq!(ledger.find("r1", just).map(|kept| kept.json.clone()), Some("1".to_owned()));
        assert_eq!(ledger.find("c1", just).map(|kept| kept.json.clone()), Some("1".to_owned()));
        assert!(ledger.find("c2", just).is_none());
        assert!(ledger.find("r1", start + Duration::from_secs(10)).is_none());
        assert_eq!((ledger.len(), ledger.ids.len(), ledger.answers.order.len()), (0, 0, 0));
    }

    #[test]
    fn the_oldest_make_room() {
        let (mut ledger, start) = (Ledger::new(Duration::from_secs(10), 4), Instant::now());
        (0..6).for_each(|number| file(&mut ledger, number, start));
        assert_eq!((ledger.len(), ledger.ids.len()), (4, 4));
        assert!(ledger.find("r1", start).is_none() && ledger.find("c1", start).is_none());
        assert!(ledger.find("r2", start).is_some() && ledger.find("c5", start).is_some());
    }

    #[test]
    fn refusals_push_out_refusals_and_answers_push_out_answers() {
        let (mut ledger, start) = (Ledger::new(Duration::from_secs(10), 32), Instant::now());
        let refuse = |ledger: &mut Ledger, number: usize| {
            ledger.file(Kind::Refusal, format!("n{number}"), None, kept("no"), start);
        };
        file(&mut ledger, 0, start);
        (0..100).for_each(|number| refuse(&mut ledger, number));
        assert!(ledger.find("r0", start).is_some(), "an answer's receipt outlives any number of refusals");
        assert!(ledger.find("n97", start).is_none() && ledger.find("n98", start).is_some(), "two are kept");
        (1..=31).for_each(|number| file(&mut ledger, number, start));
        assert!(ledger.find("r0", start).is_some() && ledger.find("n98", start).is_some());
        file(&mut ledger, 32, start);
        assert!(ledger.find("r0", start).is_none(), "thirty-two answers do not");
        assert!(ledger.find("n99", start).is_some());
        assert!(ledger.find("n99", start + Duration::from_secs(10)).is_none());
        assert_eq!(ledger.len(), 0, "time ends both");
    }

    #[test]
    fn chains_belong_to_tenants_and_begin_anew_with_a_keyset() {
        let mut ledger = Ledger::new(Duration::from_secs(10), 4);
        let (one, two) = (Tenant(Some([1; 32])), Tenant(Some([2; 32])));
        let (first, second) = (Sha256Digest::of(b"1"), Sha256Digest::of(b"2"));
        assert!(ledger.chain(Tenant(None), first).is_none());
        let key = protocol::receipt::ReceiptKey::from_seed(&[1; 32]);
        let head = protocol::receipt::Head {
            receipt_id: "r".to_owned(),
            chat_id: None,
            model: None,
            workload_keyset_digest: first,
            endpoint: "/".to_owned(),
            method: "POST".to_owned(),
            served_at: 0,
        };
        let receipt = protocol::receipt::Draft::new(head, first).sign(first, &key).expect("signed");
        ledger.chain(one, first).expect("a chain").lock().expect("a chain").advance(&receipt);
        let mut counter =
            |tenant, keyset| ledger.chain(tenant, keyset).expect("a chain").lock().expect("a chain").place().counter;
        assert_eq!(counter(one, first), 1);
        assert_eq!(counter(two, first), 0);
        assert_eq!(counter(one, second), 0);
    }
}
