//! From arguments to the verifier's input, platform by platform.

use std::path::PathBuf;

use evidence::{
    check::{self, Azure, Nvidia, SevSnp, Tdx, Tpm2},
    tpm::{AttestationKey, Boot},
};

use super::{
    Judgement, answer,
    arguments::{AzureArguments, HexBytes, NvidiaArguments, SevSnpArguments, TdxArguments, Tpm2Arguments},
};
use crate::{
    error::{Error, UsageError},
    program::{files, policy},
};

pub fn sev_snp(arguments: &SevSnpArguments) -> Result<(), Error> {
    let policy = policy::load(&arguments.policy.policy)?;
    let expected = arguments.conditions.expected()?;
    let at = arguments.conditions.time();
    let report = files::read(&arguments.report)?;
    let vek = optional(arguments.vek.as_ref())?;
    let crls = all(&arguments.crl)?;
    let verdict = check::sev_snp(SevSnp {
        report: &report,
        vek: vek.as_deref(),
        crls: &slices(&crls),
        policy: &policy,
        expected: &expected,
        at,
    });
    answer(
        Judgement { platform: "sev-snp", policy: Some(policy::label(&arguments.policy.policy, &policy)), at, verdict },
        arguments.conditions.json,
    )
}

pub fn tdx(arguments: &TdxArguments) -> Result<(), Error> {
    let policy = policy::load(&arguments.policy.policy)?;
    let expected = arguments.conditions.expected()?;
    let at = arguments.conditions.time();
    let quote = files::read(&arguments.quote)?;
    let collateral = optional(arguments.collateral.as_ref())?;
    let input = Tdx { quote: &quote, collateral: collateral.as_deref(), policy: &policy, expected: &expected, at };
    let verdict = match optional(arguments.event_log.as_ref())? {
        Some(event_log) => check::tdx_with_event_log(input, &event_log),
        None => check::tdx(input),
    };
    answer(
        Judgement { platform: "tdx", policy: Some(policy::label(&arguments.policy.policy, &policy)), at, verdict },
        arguments.conditions.json,
    )
}

pub fn tpm2(arguments: &Tpm2Arguments) -> Result<(), Error> {
    let policy = policy::load(&arguments.policy.policy)?;
    let expected = arguments.conditions.expected()?;
    let at = arguments.conditions.time();
    let quote = files::read(&arguments.quote)?;
    let signature = files::read(&arguments.signature)?;
    // The command line has one or the other.
    let key = optional(arguments.ak.as_ref().or(arguments.ak_cert.as_ref()))?.unwrap_or_default();
    let (issuers, roots) = (all(&arguments.ak_issuer)?, all(&arguments.ak_root)?);
    let (issuers, roots) = (slices(&issuers), slices(&roots));
    let ak = if arguments.ak.is_some() {
        AttestationKey::Pinned(&key)
    } else {
        AttestationKey::Certified { certificate: &key, intermediates: &issuers, roots: &roots }
    };
    let pcrs = optional(arguments.pcrs.as_ref())?;
    let event_log = optional(arguments.event_log.as_ref())?;
    let document = optional(arguments.document.as_ref())?;
    let images: Vec<&[u8]> = arguments.image.iter().map(HexBytes::bytes).collect();
    let boot = document.as_deref().map(|document| Boot {
        images: &images,
        document,
        firmware: arguments.firmware.into(),
        load_options: &[],
    });
    let verdict = check::tpm2(Tpm2 {
        quote: &quote,
        signature: &signature,
        ak,
        nonce: arguments.nonce.as_ref().map(HexBytes::bytes),
        pcrs: pcrs.as_deref(),
        event_log: event_log.as_deref(),
        boot: boot.as_ref(),
        policy: &policy,
        expected: &expected,
        at,
    });
    answer(
        Judgement { platform: "tpm2", policy: Some(policy::label(&arguments.policy.policy, &policy)), at, verdict },
        arguments.conditions.json,
    )
}

pub fn azure(arguments: &AzureArguments) -> Result<(), Error> {
    let policy = policy::load(&arguments.policy.policy)?;
    let expected = arguments.conditions.expected()?;
    let at = arguments.conditions.time();
    let hcl_report = files::read(&arguments.hcl_report)?;
    let vek = optional(arguments.vek.as_ref())?;
    let crls = all(&arguments.crl)?;
    let td_quote = optional(arguments.td_quote.as_ref())?;
    let collateral = optional(arguments.collateral.as_ref())?;
    let quote = optional(arguments.quote.as_ref())?.zip(optional(arguments.signature.as_ref())?);
    let pcrs = optional(arguments.pcrs.as_ref())?;
    let event_log = optional(arguments.event_log.as_ref())?;
    let verdict = check::azure(Azure {
        hcl_report: &hcl_report,
        vek: vek.as_deref(),
        crls: &slices(&crls),
        td_quote: td_quote.as_deref(),
        collateral: collateral.as_deref(),
        quote: quote.as_ref().map(|(quote, signature)| (quote.as_slice(), signature.as_slice())),
        pcrs: pcrs.as_deref(),
        nonce: arguments.nonce.as_ref().map(HexBytes::bytes),
        event_log: event_log.as_deref(),
        policy: &policy,
        expected: &expected,
        at,
    });
    answer(
        Judgement { platform: "azure", policy: Some(policy::label(&arguments.policy.policy, &policy)), at, verdict },
        arguments.conditions.json,
    )
}

pub fn nvidia(arguments: &NvidiaArguments) -> Result<(), Error> {
    let expected = arguments.conditions.expected()?;
    let at = arguments.conditions.time();
    let report = files::read(&arguments.report)?;
    let chain = files::read(&arguments.chain)?;
    let rims = all(&arguments.rim)?;
    let verdict = check::nvidia(Nvidia {
        report: &report,
        chain: &chain,
        nonce: arguments.nonce.as_ref().map(HexBytes::bytes),
        rims: &slices(&rims),
        expected: &expected,
        at,
    });
    answer(Judgement { platform: "nvidia", policy: None, at, verdict }, arguments.conditions.json)
}

fn optional(path: Option<&PathBuf>) -> Result<Option<Vec<u8>>, UsageError> {
    path.map(|path| files::read(path)).transpose()
}

fn all(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, UsageError> {
    paths.iter().map(|path| files::read(path)).collect()
}

fn slices(files: &[Vec<u8>]) -> Vec<&[u8]> {
    files.iter().map(Vec::as_slice).collect()
}
