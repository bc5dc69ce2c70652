//! What AMD's revocation lists do, on certificates of the tests' own, and that AMD's names alone are worth nothing.

use super::{
    endorsement::{check_revocation, verify_endorsement},
    *,
};
use crate::{
    Policy, Refusal, Rule, roots,
    x509::{
        Certificate,
        made::{Party, authority, extension, now, tlv},
        tag,
    },
};

fn policy(lines: &str) -> Policy {
    Policy::from_toml(&format!("name = \"test\"\nextends = \"hardware\"\n[sev_snp]\n{lines}\n")).expect("a policy")
}

/// Of a leaf with this serial number below intermediate 2, under lists of the root.
fn judge(leaf: u8, lists: &[Vec<u8>], lines: &str) -> Result<Option<String>, Refusal> {
    let (root, issuer, chip) = (Party::new(1, "ARK"), Party::new(2, "ASK"), Party::new(3, "VCEK"));
    let ders = [
        issuer.certify(&chip, &[leaf], &[]),
        root.certify(&issuer, &[2], &[authority()]),
        root.certify(&root, &[1], &[authority()]),
    ];
    let [leaf, issuer, root] = ders.each_ref().map(|der| Certificate::read(der).expect("a certificate"));
    let lists: Vec<&[u8]> = lists.iter().map(Vec::as_slice).collect();
    check_revocation(&leaf, &issuer, &root, &lists, &policy(lines), now()).map(|from| from.map(|time| time.to_string()))
}

fn reason(judged: Result<Option<String>, Refusal>) -> String {
    let refusal = judged.expect_err("a refusal");
    assert_eq!(refusal.rule(), Rule::S3);
    refusal.reason().to_owned()
}

#[test]
fn s3_a_revoked_issuer_is_refused_and_a_list_without_it_is_named() {
    let root = Party::new(1, "ARK");
    let from = Ok(Some("2025-01-01T00:00:00Z".to_owned()));
    assert_eq!(judge(0, &[], ""), Ok(None));
    assert_eq!(judge(0, &[root.revoke(&[])], ""), from);
    assert_eq!(judge(0, &[root.revoke(&[&[9], &[1]])], ""), from);
    let revoked = root.revoke(&[&[9], &[2]]);
    assert_eq!(reason(judge(0, std::slice::from_ref(&revoked), "")), "the intermediate certificate is revoked");
    assert_eq!(reason(judge(0, &[root.revoke(&[]), revoked], "")), "the intermediate certificate is revoked");
    // Serial number 0 is every VCEK's, so that an entry 0 says nothing; any other that is listed is refused.
    assert_eq!(judge(0, &[root.revoke(&[&[0]])], ""), from);
    assert_eq!(reason(judge(7, &[root.revoke(&[&[7]])], "")), "the endorsement certificate is revoked");
    assert_eq!(judge(8, &[root.revoke(&[&[7]])], ""), from);
}

#[test]
fn s3_the_policy_bounds_the_age_of_a_list() {
    let list = [Party::new(1, "ARK").revoke(&[])];
    let days = |days: u32| judge(0, &list, &format!("crl_days_max = {{ is = {days}, because = \"test\" }}"));
    assert!(days(365).is_ok());
    assert_eq!(reason(days(364)), "the revocation list is 365 days old; the policy refuses it: test");
    assert_eq!(Policy::embedded("standard").expect("a policy").sev_snp.crl_days_max.is, 380);
}

#[test]
fn s3_a_list_in_the_roots_name_by_another_key_is_refused() {
    for product in [Product::Milan, Product::Genoa, Product::Turin] {
        let ark = Certificate::read(roots::amd(product).ark).expect("a root");
        let ask = Certificate::read(roots::amd(product).ask).expect("an intermediate");
        let forged = Party::named(9, ark.subject).revoke(&[]);
        let judged = check_revocation(&ask, &ask, &ark, &[&forged], &policy(""), now()).expect_err("a forged list");
        assert_eq!((judged.rule(), judged.reason()), (Rule::S3, "the revocation list is not signed by its authority"));
    }
}

/// AMD's extensions of a VCEK for a Genoa chip.
fn vcek_extensions() -> Vec<Vec<u8>> {
    let amd = |suffix: &[u8], value: &[u8]| {
        extension(&[&[0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01], suffix].concat(), false, value)
    };
    let svns = (1..=8).map(|number| amd(&[3, number], &[tag::INTEGER, 1, 0]));
    svns.chain([amd(&[2], &tlv(tag::IA5_STRING, b"Genoa")), amd(&[4], &[7; 64])]).collect()
}

#[test]
fn s3_a_chain_in_amds_names_by_other_keys_is_refused() {
    let ask = Certificate::read(roots::amd(Product::Genoa).ask).expect("an intermediate");
    let forger = Party::named(9, ask.subject);
    let leaf = forger.certify(&Party::new(3, "SEV-VCEK"), &[0], &vcek_extensions());
    let judged = verify_endorsement(&leaf, Some(Product::Genoa), &[], &policy(""), now()).expect_err("a forged chain");
    assert_eq!((judged.rule(), judged.reason()), (Rule::S3, "a certificate is not signed by its issuer"));
    // An authority of the forger's own, self-signed in the root's name, handed over as the endorsement.
    let ark = Certificate::read(roots::amd(Product::Genoa).ark).expect("a root");
    let own_root = Party::named(9, ark.subject);
    let extensions = [vcek_extensions(), vec![authority()]].concat();
    let own_root = own_root.certify(&own_root, &[1], &extensions);
    let judged = verify_endorsement(&own_root, None, &[], &policy(""), now()).expect_err("a forged root");
    assert_eq!((judged.rule(), judged.reason()), (Rule::S3, "a certificate names another issuer"));
}
