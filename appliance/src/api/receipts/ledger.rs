//! The receipts that can be fetched: bounded in time and number, in memory alone.

use std::collections::{HashMap, VecDeque};
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

/// All of them.
pub(super) struct Ledger {
    life: Duration,
    most: usize,
    kept: HashMap<String, Kept>,
    /// From the `id` of an answer to that of its receipt.
    answers: HashMap<String, String>,
    /// In the order in which they were filed, with the id of the answer.
    order: VecDeque<(Instant, String, Option<String>)>,
    /// The keyset of the chains below.
    keyset: Option<Sha256Digest>,
    chains: HashMap<[u8; 32], Chain>,
}

/// Most tenants with a chain at a time; more can only be devices.
const CHAINS: usize = 65_536;

impl Ledger {
    pub(super) fn new(life: Duration, most: usize) -> Self {
        let (kept, answers, order) = (HashMap::new(), HashMap::new(), VecDeque::new());
        Self { life, most, kept, answers, order, keyset: None, chains: HashMap::new() }
    }

    /// The chain of a tenant under a keyset; chains begin anew with each. Nobody in particular has none: it would tell each of
    /// many how often the others asked.
    pub(super) fn chain(&mut self, tenant: Tenant, keyset: Sha256Digest) -> Option<&mut Chain> {
        if self.keyset != Some(keyset) {
            self.keyset = Some(keyset);
            self.chains.clear();
        }
        let tenant = tenant.0?;
        if self.chains.len() >= CHAINS && !self.chains.contains_key(&tenant) {
            return None;
        }
        Some(self.chains.entry(tenant).or_default())
    }

    /// Keeps a receipt; the oldest make room.
    pub(super) fn file(&mut self, id: String, chat_id: Option<String>, kept: Kept, now: Instant) {
        self.forget(now);
        while self.order.len() >= self.most.max(1) {
            self.drop_oldest();
        }
        if let Some(chat_id) = &chat_id {
            self.answers.insert(chat_id.clone(), id.clone());
        }
        self.kept.insert(id.clone(), kept);
        self.order.push_back((now, id, chat_id));
    }

    /// The receipt with this id, or of the answer with this id.
    pub(super) fn find(&mut self, id: &str, now: Instant) -> Option<&Kept> {
        self.forget(now);
        let id = self.answers.get(id).map_or(id, String::as_str);
        self.kept.get(id)
    }

    /// How many there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.kept.len()
    }

    fn forget(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(filed, ..)| *filed + self.life <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, id, chat_id)) = self.order.pop_front() {
            self.kept.remove(&id);
            chat_id.and_then(|chat_id| self.answers.remove(&chat_id));
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
        ledger.file(format!("r{number}"), Some(format!("c{number}")), kept(&number.to_string()), now);
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
        assert_eq!((ledger.len(), ledger.answers.len(), ledger.order.len()), (0, 0, 0));
    }

    #[test]
    fn the_oldest_make_room() {
        let (mut ledger, start) = (Ledger::new(Duration::from_secs(10), 4), Instant::now());
        (0..6).for_each(|number| file(&mut ledger, number, start));
        assert_eq!((ledger.len(), ledger.answers.len()), (4, 4));
        assert!(ledger.find("r1", start).is_none() && ledger.find("c1", start).is_none());
        assert!(ledger.find("r2", start).is_some() && ledger.find("c5", start).is_some());
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
        ledger.chain(one, first).expect("a chain").advance(&receipt);
        assert_eq!(ledger.chain(one, first).expect("a chain").place().counter, 1);
        assert_eq!(ledger.chain(two, first).expect("a chain").place().counter, 0);
        assert_eq!(ledger.chain(one, second).expect("a chain").place().counter, 0);
    }
}
