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
use cache::Age;
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
            // It is of one chip at one TCB and does not change.
            let name = format!("{}{place}", self.amd.address());
            given.vek = self.kept(&name, Age::Any, amd::fetched(&self.amd, place), problems).await;
        }
        if given.crls.is_empty() {
            let name = format!("{}{}", self.amd.address(), wanted.crl);
            let found = self.kept(&name, Age::Day, amd::fetched(&self.amd, &wanted.crl), problems).await;
            given.crls.extend(found);
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
            Ok(wanted) => {
                let fmspc = hex::encode(wanted.fmspc);
                let name = format!("{}/tdx/{fmspc}/{}", self.intel.address(), wanted.authority);
                given.tdx = self.kept(&name, Age::Day, intel::fetched(self, &wanted), problems).await;
            }
            Err(source) => problems.push(CollateralError::Evidence { service: self.intel.name(), source }),
        }
        given
    }

    /// From the cache if it is young enough, from the service, or from the cache however old: the verifier judges dates. What the
    /// service refused is said in any case.
    async fn kept(
        &self,
        name: &str,
        age: Age,
        fetched: impl Future<Output = Result<Vec<u8>, CollateralError>>,
        problems: &mut Vec<CollateralError>,
    ) -> Option<Vec<u8>> {
        let cached = |age| self.cache.as_ref().and_then(|cache| cache.get(name, age));
        if !self.online {
            return cached(Age::Any);
        }
        if let Some(bytes) = cached(age) {
            return Some(bytes);
        }
        match fetched.await {
            Ok(bytes) => {
                if let Some(cache) = &self.cache {
                    cache.put(name, &bytes);
                }
                Some(bytes)
            }
            Err(problem) => {
                problems.push(problem);
                cached(Age::Any)
            }
        }
    }
}
