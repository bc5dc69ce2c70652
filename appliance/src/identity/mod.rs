//! The keys of this boot and of its epochs, and what is said about them: keysets and attestation reports.
//!
//! One key a role. For the boot: a TLS key (P-256), a receipt key (Ed25519) and the keys of the older verifiers' signatures. For an
//! epoch: a key for each encrypted wire, drawn from a chain that goes forward only. None has a serialised form that leaves the
//! process, and all die with it. docs/decisions/0009 says why it is so.

mod epoch;
mod error;
mod evidence;
mod report;
mod ring;
mod tls;

use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use deployment::{Document, Wires};
use protocol::legacy::LegacyKeys;
use protocol::receipt::ReceiptKey;
use protocol::{Keyset, Sha256Digest, TeeType, TlsKey};
use tee::{Binding, NoTee, Platform, Tee};
use tokio::sync::Notify;
use zeroize::Zeroizing;

pub use epoch::{Epoch, Room};
pub use error::IdentityError;
use evidence::Shown;
pub use report::ReportError;
pub use ring::{Due, Live, Published};
use ring::{Lives, Ring};
pub use tls::{Chain, ChainError, TlsIdentity};

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
    /// What the host says vendors say about the platform.
    pub endorsements: Option<Vec<u8>>,
}

/// What all epochs of a boot have in common.
struct PerBoot {
    tls: TlsIdentity,
    receipt: ReceiptKey,
    legacy: LegacyKeys,
    id: [u8; 16],
    machine: Arc<dyn Tee>,
    /// Whether operators may bring secrets.
    operators: bool,
}

/// The keys of this boot and of its epochs.
pub struct Identity {
    boot: PerBoot,
    origin: Origin,
    model: (String, [u8; 32]),
    /// SHA-256 of the manifest of the image that the document is for, where it names one.
    image_manifest: Option<[u8; 32]>,
    shown: Shown,
    wires: Wires,
    measurement: OnceLock<Option<String>>,
    ring: RwLock<Ring>,
    pressed: Notify,
}

impl PerBoot {
    fn draw(tls: TlsIdentity, machine: Arc<dyn Tee>, operators: bool) -> Result<Self, IdentityError> {
        let (receipt, legacy) = (ReceiptKey::from_seed(&*drawn()?), legacy_keys()?);
        Ok(Self { tls, receipt, legacy, id: *drawn()?, machine, operators })
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

/// Random bytes of the kernel's.
fn drawn<const N: usize>() -> Result<Zeroizing<[u8; N]>, IdentityError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(IdentityError::Random)?;
    Ok(bytes)
}

/// Draws until the bytes are a key, which they are but for a chance of 2^-127.
fn legacy_keys() -> Result<LegacyKeys, IdentityError> {
    loop {
        if let Ok(keys) = LegacyKeys::from_seeds(&*drawn()?, &*drawn()?) {
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
        let ground =
            Ground { machine: Arc::new(NoTee), binding: Binding::None, document: Vec::new(), endorsements: None };
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
        let boot = PerBoot::draw(tls, ground.machine, !document.secrets.operator_keys.is_empty())?;
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
        let shown = Shown::of(ground.binding, &ground.document, ground.endorsements.as_deref());
        Ok(Self {
            boot,
            origin,
            model,
            image_manifest: document.image.manifest_sha256.map(|digest| digest.0),
            shown,
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

    /// The secret of this machine, image and configuration, where there is one; material for a key, never a key.
    #[must_use]
    pub fn sealing_secret(&self) -> Option<&tee::Secret> {
        self.boot.machine.derived_secret()
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

    /// How long the present epoch goes on after its end already, at `now`.
    #[must_use]
    pub fn overdue(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.read().end())
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
}

#[cfg(test)]
mod tests;
