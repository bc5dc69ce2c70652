//! What vendors say about a platform: from the user, from the evidence, from a cache, or from the vendors' services.
//!
//! Nothing that is fetched is trusted for where it came from: certificates, revocation lists and Intel's collateral are
//! signed, and the verifier checks them like everything else. TLS keeps others from seeing which platform is asked about.

mod amd;
mod cache;
mod intel;
mod service;

use evidence::{sev_snp, tdx};
use protocol::TeeType;

use crate::{
    attestation::{Endorsements, evidence::Members, parse},
    error::{Error, NetworkError},
};
pub use cache::Cache;
pub use service::{Service, web_roots};

/// Why something is missing.
#[derive(Debug, thiserror::Error)]
pub enum CollateralError {
    /// The evidence does not say what to ask for.
    #[error("the evidence does not say what to ask {service} for")]
    Evidence {
        /// Whom.
        service: &'static str,
        /// Why not.
        #[source]
        source: evidence::Refusal,
    },
    /// The service could not be asked.
    #[error("cannot ask {service}")]
    Unreachable {
        /// Whom.
        service: &'static str,
        /// Why not.
        #[source]
        source: Box<Error>,
    },
    /// The service has none, or gives none now.
    #[error("{service} answered {status}")]
    Status {
        /// Who.
        service: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// Not what the service's specification says.
    #[error("{service} answered something else: {what}")]
    Form {
        /// Who.
        service: &'static str,
        /// What is wrong.
        what: &'static str,
    },
}

/// The vendors' services, and what they said before.
#[derive(Debug, Clone)]
pub struct Library {
    /// AMD's key distribution service.
    pub amd: Service,
    /// Intel's provisioning certification service.
    pub intel: Service,
    /// Where Intel publishes its root's revocation list.
    pub intel_certificates: Service,
    /// What was fetched before.
    pub cache: Option<Cache>,
    /// Whether the services may be asked.
    pub online: bool,
}

impl Library {
    /// The vendors' own services and the user's cache. Offline, the cache alone.
    ///
    /// # Errors
    /// [`NetworkError::Tls`] if TLS cannot be set up.
    pub fn of_user(online: bool) -> Result<Self, NetworkError> {
        let roots = web_roots();
        Ok(Self {
            amd: Service::new("AMD", "https://kdsintf.amd.com", roots.clone())?,
            intel: Service::new("Intel", "https://api.trustedservices.intel.com", roots.clone())?,
            intel_certificates: Service::new("Intel", "https://certificates.trustedservices.intel.com", roots)?,
            cache: Cache::of_user(),
            online,
        })
    }

    /// What a report needs and nobody gave, as far as it can be had, and why the rest cannot.
    pub async fn complete(&self, report: &[u8], given: Endorsements) -> (Endorsements, Vec<CollateralError>) {
        let mut problems = Vec::new();
        let Ok(report) = parse(report) else { return (given, problems) };
        let Ok(members) = Members::read(&report.attestation.evidence) else { return (given, problems) };
        let completed = match (report.attestation.tee_type, &members.sev_snp, &members.tdx) {
            (TeeType::SevSnp, Some(evidence), _) => {
                let table = evidence.certificates.as_ref();
                let has = table.is_some_and(|table| sev_snp::certificate_in_table(&table.0).is_some());
                self.sev_snp(&evidence.report.0, given, has, &mut problems).await
            }
            (TeeType::Tdx, _, Some(evidence)) => self.tdx(&evidence.quote.0, given, &mut problems).await,
            _ => given,
        };
        (completed, problems)
    }

    /// Endorsement certificate and revocation list of a SEV-SNP report. `has_certificate`: the evidence brings its own.
    pub async fn sev_snp(
        &self,
        report: &[u8],
        mut given: Endorsements,
        has_certificate: bool,
        problems: &mut Vec<CollateralError>,
    ) -> Endorsements {
        let wanted = match sev_snp::wanted(report) {
            Ok(wanted) => wanted,
            Err(source) => {
                problems.push(CollateralError::Evidence { service: self.amd.name(), source });
                return given;
            }
        };
        if given.vek.is_none()
            && !has_certificate
            && let Some(place) = &wanted.endorsement
        {
            given.vek = noted(amd::certificate(self, place).await, problems);
        }
        if given.crls.is_empty() {
            given.crls.extend(noted(amd::revocation_list(self, &wanted.crl).await, problems));
        }
        given
    }

    /// Collateral of a TDX quote.
    pub async fn tdx(
        &self,
        quote: &[u8],
        mut given: Endorsements,
        problems: &mut Vec<CollateralError>,
    ) -> Endorsements {
        if given.tdx.is_some() {
            return given;
        }
        match tdx::wanted(quote) {
            Ok(wanted) => given.tdx = noted(intel::collateral(self, &wanted).await, problems),
            Err(source) => problems.push(CollateralError::Evidence { service: self.intel.name(), source }),
        }
        given
    }
}

/// What was found; a problem is kept for later, and being offline is none.
fn noted(found: Result<Option<Vec<u8>>, CollateralError>, problems: &mut Vec<CollateralError>) -> Option<Vec<u8>> {
    found.unwrap_or_else(|problem| {
        problems.push(problem);
        None
    })
}
