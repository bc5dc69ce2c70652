//! The keys of this boot and of its epochs, and what is said about them: keysets and attestation reports.
//!
//! One key a role. For the boot: a TLS key (P-256), a receipt key (Ed25519) and the keys of the older verifiers' signatures. For an
//! epoch: a key for each encrypted wire, drawn from a chain that goes forward only. None has a serialised form that leaves the
//! process, and all die with it. docs/decisions/0009 says why it is so.

mod epoch;
mod evidence;
mod ring;
mod tls;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use deployment::{Document, Wires};
use protocol::legacy::{self, LegacyKeys, SigningAlgorithm};
use protocol::ratchet::Underivable;
use protocol::receipt::ReceiptKey;
use protocol::{JcsError, Keyset, Nonce, Report, Sha256Digest, SourceProvenance, TeeType, TlsKey, report_data_slot};
use serde_json::Value;
use tee::{Binding, Evidence, NoTee, Platform, Tee, TeeError};
use tokio::sync::Notify;
use zeroize::Zeroizing;

pub use epoch::{Epoch, Room};
pub use ring::{Due, Live, Published};
use ring::{Lives, Ring};
pub use tls::TlsIdentity;

/// `not_after` of the keyset: 2100-01-01T00:00:00Z, in seconds since 1970.
///
/// The protocol demands an expiry, and an expiry needs a clock. The machine's clock is the host's, so a time computed
/// from it would look like a promise and be none. Keys end with their epoch or the boot whatever this says; freshness is what
/// the nonce is for.
pub const KEYSET_NOT_AFTER: u64 = 4_102_444_800;

/// What a boot knows about itself beside its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// True for an ordinary program on somebody's machine, false for PID 1 of its own.
    pub host_mode: bool,
    /// True where memory could not be locked and the operator said to go on.
    pub insecure_host: bool,
    /// SHA-256 over the bytes of the deployment document.
    pub document_sha256: [u8; 32],
}

/// The machine below, and the document that it is bound to.
pub struct Ground {
    /// Vouches, or says that it does not.
    pub machine: Arc<dyn Tee>,
    /// How the document is bound to it.
    pub binding: Binding,
    /// The deployment document's bytes.
    pub document: Vec<u8>,
}

/// What all epochs of a boot have in common.
struct PerBoot {
    tls: TlsIdentity,
    receipt: ReceiptKey,
    legacy: LegacyKeys,
    id: [u8; 16],
    machine: Arc<dyn Tee>,
}

/// The keys of this boot and of its epochs.
pub struct Identity {
    boot: PerBoot,
    origin: Origin,
    model: (String, [u8; 32]),
    binding: Binding,
    document: Vec<u8>,
    wires: Wires,
    measurement: OnceLock<Option<String>>,
    ring: RwLock<Ring>,
    pressed: Notify,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The keyset has no canonical form.
    #[error("the keyset has no canonical form")]
    Keyset(#[source] JcsError),
    /// The machine gives no evidence.
    #[error("the machine gives no evidence")]
    Machine(#[from] TeeError),
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The kernel gave no random bytes.
    #[error("cannot draw random bytes")]
    Random(#[source] getrandom::Error),
    /// A name of the document cannot stand in a certificate.
    #[error("a certificate cannot carry entry {index} of listen.names")]
    Name {
        /// Position in the document's list; the two names that are always there come after the document's.
        index: usize,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The certificate could not be made.
    #[error("cannot make the TLS certificate")]
    Certificate(#[source] rcgen::Error),
    /// The TLS library refuses certificate or key.
    #[error("cannot use the TLS certificate and key")]
    Tls(#[source] rustls::Error),
    /// The user's file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The user's file has no certificate or no private key in PEM form.
    #[error("{path} has no PEM section of the kind that is needed")]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The public key of the certificate is of a kind that cannot be hashed here.
    #[error("the TLS key does not show its public half")]
    NoPublicKey,
    /// The keyset has no canonical form.
    #[error("the keyset has no canonical form")]
    Keyset(#[source] JcsError),
    /// A key cannot be derived.
    #[error("cannot derive the keys of an epoch")]
    Derive(#[from] Underivable),
}

impl PerBoot {
    fn draw(tls: TlsIdentity, machine: Arc<dyn Tee>) -> Result<Self, IdentityError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(IdentityError::Random)?;
        Ok(Self { tls, receipt: ReceiptKey::from_seed(&*seed()?), legacy: legacy_keys()?, id, machine })
    }

    /// The keyset, as yet without the keys of an epoch.
    fn keyset(&self) -> Keyset {
        let mut receipt_signing_keys = vec![self.receipt.public_key()];
        receipt_signing_keys.extend(self.legacy.public_keys());
        Keyset {
            subject: None,
            not_after: KEYSET_NOT_AFTER,
            receipt_signing_keys,
            e2ee_public_keys: Vec::new(),
            tls_public_keys: vec![TlsKey { spki_sha256: *self.tls.spki_sha256(), domain: None }],
        }
    }
}

fn seed() -> Result<Zeroizing<[u8; 32]>, IdentityError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(IdentityError::Random)?;
    Ok(seed)
}

/// Draws until the bytes are a key, which they are but for a chance of 2^-127.
fn legacy_keys() -> Result<LegacyKeys, IdentityError> {
    loop {
        if let Ok(keys) = LegacyKeys::from_seeds(&*seed()?, &*seed()?) {
            return Ok(keys);
        }
    }
}

impl Identity {
    /// Makes the keys on a machine where nothing vouches, with a self-signed TLS certificate for the document's names.
    ///
    /// # Errors
    /// [`IdentityError`] where random bytes are missing or a name cannot stand in a certificate.
    pub fn establish(document: &Document, origin: Origin) -> Result<Self, IdentityError> {
        Self::with_tls(document, origin, TlsIdentity::generate(&document.listen.names)?)
    }

    /// As [`Identity::establish`], around a certificate and key that the user brought.
    ///
    /// # Errors
    /// As [`Identity::establish`].
    pub fn with_tls(document: &Document, origin: Origin, tls: TlsIdentity) -> Result<Self, IdentityError> {
        let ground = Ground { machine: Arc::new(NoTee), binding: Binding::None, document: Vec::new() };
        Self::make(document, origin, tls, ground)
    }

    /// As [`Identity::establish`], on a machine that vouches or says that it does not.
    ///
    /// # Errors
    /// As [`Identity::establish`].
    pub fn on(document: &Document, origin: Origin, ground: Ground) -> Result<Self, IdentityError> {
        Self::make(document, origin, TlsIdentity::generate(&document.listen.names)?, ground)
    }

    fn make(document: &Document, origin: Origin, tls: TlsIdentity, ground: Ground) -> Result<Self, IdentityError> {
        let boot = PerBoot::draw(tls, ground.machine)?;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let lives = Lives {
            epoch: seconds(document.keys.epoch_seconds),
            grace: seconds(document.keys.grace_seconds),
            receipts: seconds(document.receipts.seconds),
            requests: usize::try_from(document.keys.epoch_requests).unwrap_or(usize::MAX),
        };
        let wires = document.wires.clone();
        let ring = Ring::begin(&boot, lives, &wires, Instant::now())?;
        let model = (document.model.name.clone(), document.model.sha256);
        let (binding, document) = (ground.binding, ground.document);
        Ok(Self {
            boot,
            origin,
            model,
            binding,
            document,
            wires,
            measurement: OnceLock::new(),
            ring: RwLock::new(ring),
            pressed: Notify::new(),
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kind of the machine.
    #[must_use]
    pub fn platform(&self) -> Platform {
        self.boot.machine.platform()
    }

    /// The kind of the machine as reports name it.
    #[must_use]
    pub fn tee_type(&self) -> TeeType {
        match self.platform() {
            Platform::SevSnp => TeeType::SevSnp,
            Platform::Tdx => TeeType::Tdx,
            Platform::Tpm2 => TeeType::Tpm2,
            Platform::None => TeeType::None,
        }
    }

    /// Certificate and key of the TLS port; the same for the whole boot, so that clients can pin it.
    #[must_use]
    pub const fn tls(&self) -> &TlsIdentity {
        &self.boot.tls
    }

    /// The key that signs receipts.
    #[must_use]
    pub const fn receipt(&self) -> &ReceiptKey {
        &self.boot.receipt
    }

    /// The keys that sign for the older verifiers.
    #[must_use]
    pub const fn legacy(&self) -> &LegacyKeys {
        &self.boot.legacy
    }

    /// The random name of this boot.
    #[must_use]
    pub const fn boot_id(&self) -> &[u8; 16] {
        &self.boot.id
    }

    /// What the hardware says it launched, in hexadecimal: nothing before the first report, and where nothing measures.
    #[must_use]
    pub fn measurement(&self) -> Option<&str> {
        self.measurement.get().and_then(Option::as_deref)
    }

    /// What the boot knows about itself.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The present keyset.
    #[must_use]
    pub fn published(&self) -> Arc<Published> {
        self.read().published()
    }

    /// The digest of the present keyset.
    #[must_use]
    pub fn keyset_digest(&self) -> Sha256Digest {
        self.published().digest
    }

    /// The epochs whose keys open requests.
    #[must_use]
    pub fn live(&self) -> Live {
        self.read().live()
    }

    /// Both of one moment: the digest of the keyset that lists the live epochs' keys.
    #[must_use]
    pub fn published_live(&self) -> (Sha256Digest, Live) {
        let ring = self.read();
        (ring.published().digest, ring.live())
    }

    /// What the epochs need next, and when.
    #[must_use]
    pub fn due(&self) -> (Instant, Due) {
        self.read().due()
    }

    /// Says that the current epoch is nearly full.
    pub fn press(&self) {
        self.write().press();
        self.pressed.notify_one();
    }

    /// Returns after [`Identity::press`] was called.
    pub async fn pressed(&self) {
        self.pressed.notified().await;
    }

    /// Seconds until a full epoch can be over.
    #[must_use]
    pub fn relief_s(&self) -> u32 {
        self.read().relief(Instant::now())
    }

    /// Makes the next epoch's keyset, so that its evidence can be made before it begins.
    ///
    /// # Errors
    /// [`IdentityError`] where random bytes are missing.
    pub fn prepare(&self) -> Result<Arc<Published>, IdentityError> {
        self.write().prepare(&self.boot, &self.wires)
    }

    /// Begins the next epoch at `now`, by the monotonic clock.
    ///
    /// # Errors
    /// [`IdentityError`] where random bytes are missing; the present epoch goes on.
    pub fn advance(&self, now: Instant) -> Result<Arc<Published>, IdentityError> {
        self.write().advance(&self.boot, &self.wires, now)
    }

    /// Drops what is over at `now`: keys after their grace, evidence that no receipt needs any more.
    pub fn forget(&self, now: Instant) {
        self.write().forget(now);
    }

    /// The attestation report for a client's nonce. Without a nonce it is made once an epoch and kept.
    ///
    /// Asking a machine takes from milliseconds to seconds, and requests queue: not for a thread that serves others.
    ///
    /// # Errors
    /// [`ReportError::Machine`] where the machine gives no evidence.
    pub fn report(&self, nonce: Option<&Nonce>) -> Result<Report, ReportError> {
        match nonce {
            None => self.report_of(&self.published()),
            Some(nonce) => self.make_report(&self.published(), Some(nonce)),
        }
    }

    /// The report about a keyset without a nonce; made once and kept with it.
    ///
    /// # Errors
    /// As [`Identity::report`].
    pub fn report_of(&self, published: &Published) -> Result<Report, ReportError> {
        if let Some(report) = published.report.get() {
            return Ok(report.clone());
        }
        let report = self.make_report(published, None)?;
        Ok(published.report.get_or_init(|| report).clone())
    }

    /// The report that was made about the keyset with this digest, of the present epoch or of one that is over.
    #[must_use]
    pub fn report_kept(&self, digest: Sha256Digest) -> Option<Report> {
        self.read().find(digest).and_then(|published| published.report.get().cloned())
    }

    fn make_report(&self, published: &Published, nonce: Option<&Nonce>) -> Result<Report, ReportError> {
        let evidence = self.boot.machine.evidence(&report_data_slot(published.digest, nonce))?;
        self.measurement.get_or_init(|| evidence::measurement(&evidence));
        let evidence = evidence::json(self, &evidence);
        let report = Report::new(self.tee_type(), &published.keyset, nonce, SourceProvenance::default(), evidence);
        Ok(report.map_err(ReportError::Keyset)?.with_wires(&epoch::wire_names(&self.wires)))
    }

    /// The report that the older verifiers ask for, with evidence of its own: ACI's statement is never in it.
    ///
    /// # Errors
    /// As [`Identity::report`].
    pub fn legacy_report(&self, algorithm: SigningAlgorithm, nonce: &[u8; 32]) -> Result<Value, ReportError> {
        let keys = self.legacy();
        let evidence = self.boot.machine.evidence(&keys.report_data(algorithm, nonce))?;
        let info = serde_json::json!({
            "document_sha256": hex::encode(self.origin.document_sha256),
            "model": self.model.0,
            "model_sha256": hex::encode(self.model.1),
            "tee_type": self.tee_type().name(),
            "workload_keyset_digest": self.keyset_digest(),
        });
        Ok(match &evidence {
            Evidence::None => legacy::report(keys, algorithm, nonce, legacy::LegacyEvidence::None, info),
            Evidence::SevSnp(found) => {
                let found = legacy::LegacyEvidence::SevSnp { report: &found.report };
                legacy::report(keys, algorithm, nonce, found, info)
            }
            Evidence::Tdx(found) => {
                let event_log = found.event_log.as_ref().map_or(Value::Null, |log| hex::encode(log).into());
                let found = legacy::LegacyEvidence::Tdx { quote: &found.quote, event_log };
                legacy::report(keys, algorithm, nonce, found, info)
            }
            Evidence::Tpm2(found) => {
                let found = legacy::LegacyEvidence::Tpm2(evidence::tpm2(found));
                legacy::report(keys, algorithm, nonce, found, info)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        let text = format!(
            "version = 1\n[model]\nname = \"m\"\nsha256 = \"{}\"\nsize_bytes = 1\n[clients]\naccess = \"anyone\"\n",
            "ab".repeat(32)
        );
        deployment::parse(text.as_bytes()).expect("document")
    }

    const ORIGIN: Origin = Origin { host_mode: true, insecure_host: false, document_sha256: [9; 32] };

    #[test]
    fn every_boot_has_other_keys() {
        let (one, two) = (
            Identity::establish(&document(), ORIGIN).expect("one"),
            Identity::establish(&document(), ORIGIN).expect("two"),
        );
        assert_ne!(one.tls().spki_sha256(), two.tls().spki_sha256());
        assert_ne!(one.receipt().id(), two.receipt().id());
        assert_ne!(one.boot_id(), two.boot_id());
        assert_ne!(one.keyset_digest(), two.keyset_digest());
    }

    #[test]
    fn the_report_binds_the_nonce_and_lists_the_keys() {
        let identity = Identity::establish(&document(), ORIGIN).expect("identity");
        let nonce = Nonce::from_bytes([3; 32]);
        let report = identity.report(Some(&nonce)).expect("report");
        assert_eq!(report.check(Some(&nonce)), Ok(()));
        assert!(report.check(None).is_err());
        assert_eq!(report.workload_keyset_digest, identity.keyset_digest());
        assert_eq!(report.attestation.workload_keyset.tls_public_keys[0].spki_sha256, *identity.tls().spki_sha256());
        assert_eq!(report.attestation.evidence["document_sha256"], "09".repeat(32));
        assert_eq!(report.attestation.evidence["host_mode"], true);
        assert_eq!(report.attestation.evidence["missing"], serde_json::json!(["hardware_evidence"]));
    }

    fn short() -> (Identity, Instant) {
        let mut document = document();
        document.keys = deployment::Keys { epoch_seconds: 100, epoch_requests: 16, grace_seconds: 30 };
        document.receipts.seconds = 50;
        (document.wires.ehbp, document.wires.envelope) = (true, true);
        (Identity::establish(&document, ORIGIN).expect("identity"), Instant::now())
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_keyset_has_the_keys_of_this_epoch_before_those_of_the_next() {
        let (identity, start) = short();
        let before = identity.published();
        let keys = |published: &Published, algorithm| {
            published.keyset.e2ee(algorithm).map(|key| key.public_key.clone()).collect::<Vec<_>>()
        };
        assert_eq!(before.keyset.check(0), Ok(()));
        identity.advance(after(start, 100)).expect("the next epoch");
        let now = identity.published();
        assert_eq!((before.epoch, now.epoch), (0, 1));
        assert_ne!(before.digest, now.digest);
        use protocol::keyset::algorithm::{EHBP, ENVELOPE, OHTTP, OHTTP_XWING};
        for algorithm in [OHTTP, OHTTP_XWING, EHBP, ENVELOPE] {
            let (old, new) = (keys(&before, algorithm), keys(&now, algorithm));
            assert_eq!((old.len(), new.len()), (2, 2));
            assert_eq!(old[1], new[0], "what was next is current");
            assert_ne!(old[0], new[1]);
        }
        assert_eq!(before.keyset.tls_public_keys, now.keyset.tls_public_keys, "pins hold");
        assert_eq!(before.keyset.receipt_signing_keys, now.keyset.receipt_signing_keys);
    }

    #[test]
    fn the_keyset_has_keys_for_the_wires_that_are_served_and_no_others() {
        let mut document = document();
        let algorithms = |document: &Document| {
            let identity = Identity::establish(document, ORIGIN).expect("identity");
            let report = identity.report(None).expect("report");
            let keys = &identity.published().keyset.e2ee_public_keys;
            (keys.iter().map(|key| key.algo.clone()).collect::<Vec<_>>(), report.service_capabilities.wires)
        };
        let (keys, wires) = algorithms(&document);
        assert_eq!(keys, ["lethe.ohttp.x25519", "lethe.ohttp.xwing", "lethe.ohttp.x25519", "lethe.ohttp.xwing"]);
        assert_eq!(wires, ["ohttp", "ohttp-chunked"]);
        document.wires.post_quantum = false;
        assert_eq!(algorithms(&document).0, ["lethe.ohttp.x25519", "lethe.ohttp.x25519"]);
        (document.wires.ohttp, document.wires.envelope) = (false, true);
        let (keys, wires) = algorithms(&document);
        assert_eq!((keys.len(), wires), (2, vec!["envelope".to_owned()]));
        assert!(keys.iter().all(|algo| algo == "lethe.envelope.x25519"));
    }

    #[test]
    fn the_next_keyset_and_its_evidence_are_ready_before_the_epoch_begins() {
        let (identity, start) = short();
        let (when, due) = identity.due();
        assert_eq!(due, Due::Prepare);
        assert!(when >= after(start, 74) && when < after(start, 76), "a quarter of the epoch before its end");
        let next = identity.prepare().expect("prepared");
        let report = identity.report_of(&next).expect("evidence");
        assert_ne!(identity.keyset_digest(), next.digest, "not yet");
        assert_eq!(identity.due().1, Due::Begin);
        identity.advance(after(start, 100)).expect("the next epoch");
        assert_eq!(identity.keyset_digest(), next.digest);
        assert_eq!(identity.report_kept(next.digest), Some(report));
    }

    #[test]
    fn a_key_opens_from_before_its_epoch_to_the_end_of_its_grace() {
        let (identity, start) = short();
        let first = identity.live().current;
        let weak = Arc::downgrade(&first);
        drop(first);
        let numbers = |live: Live| live.all().map(|epoch| epoch.number()).collect::<Vec<_>>();
        assert_eq!(numbers(identity.live()), [0, 1]);
        identity.advance(after(start, 100)).expect("the next epoch");
        assert_eq!(numbers(identity.live()), [1, 2, 0]);
        assert_eq!(identity.due(), (after(start, 130), Due::Forget));
        identity.forget(after(start, 129));
        assert!(weak.upgrade().is_some());
        identity.forget(after(start, 130));
        assert_eq!(numbers(identity.live()), [1, 2]);
        assert!(weak.upgrade().is_none(), "nothing holds the old keys");
    }

    #[test]
    fn evidence_of_a_past_epoch_is_kept_as_long_as_its_receipts_are() {
        let (identity, start) = short();
        let old = identity.published().digest;
        assert_eq!(identity.report_kept(old), None, "not made yet");
        let report = identity.report(None).expect("report");
        identity.advance(after(start, 100)).expect("the next epoch");
        assert_eq!(identity.report_kept(old), Some(report));
        identity.forget(after(start, 149));
        assert!(identity.report_kept(old).is_some());
        identity.forget(after(start, 150));
        assert_eq!(identity.report_kept(old), None);
    }

    #[test]
    fn a_full_epoch_ends_early_and_never_sooner_than_after_a_minute() {
        let (identity, start) = short();
        let epoch = identity.live().current;
        for number in 0..14_u8 {
            assert_eq!(epoch.accept("w", &[number]), Ok(Room::Enough));
        }
        assert_eq!(epoch.accept("w", &[14]), Ok(Room::Little));
        assert_eq!(epoch.accept("w", &[14]), Err(protocol::replay::Seen::Before));
        assert_eq!(epoch.accept("w", &[15]), Ok(Room::Little));
        assert_eq!(epoch.accept("w", &[16]), Err(protocol::replay::Seen::Full));
        identity.press();
        identity.prepare().expect("prepared");
        let (when, due) = identity.due();
        assert_eq!(due, Due::Begin);
        assert!(when >= after(start, 59) && when <= after(start, 60));
    }

    #[test]
    fn the_older_verifiers_get_a_report_of_their_own() {
        let (identity, _) = short();
        let report = identity.legacy_report(SigningAlgorithm::Ed25519, &[7; 32]).expect("report");
        assert_eq!(report["request_nonce"], "07".repeat(32));
        assert_eq!(report["signing_address"], identity.legacy().address(SigningAlgorithm::Ed25519));
        assert!(report.get("intel_quote").is_none());
        assert_eq!(report["info"]["workload_keyset_digest"], identity.keyset_digest().to_string());
    }

    #[test]
    fn a_name_that_no_certificate_can_carry_is_refused() {
        let mut document = document();
        document.listen.names = vec!["ok.example".to_owned(), "n\u{e4}me".to_owned()];
        assert!(matches!(Identity::establish(&document, ORIGIN), Err(IdentityError::Name { index: 1, .. })));
    }
}
