//! A manifest is what its signer signed, or it is refused, with the rule that says why.

use std::fmt::Write as _;

use super::{
    Rim,
    made::{Chain, document, info, signature, signed, with},
    verify, xml,
};
use crate::{
    Rule, Time,
    x509::{DIGITAL_SIGNATURE, KEY_CERT_SIGN, made, made::usage},
};

fn checked(manifest: &str) -> Result<Rim, Rule> {
    verify(manifest.as_bytes(), Chain::good().root(), made::now()).map_err(|refusal| refusal.rule())
}

/// With one replacement, which there must be something for.
fn but(manifest: &str, from: &str, to: &str) -> String {
    assert!(manifest.contains(from), "{from}");
    manifest.replacen(from, to, 1)
}

#[test]
fn a_signed_manifest_says_what_is_in_it() {
    let rim = checked(&signed(&document())).expect("a manifest");
    assert_eq!((rim.id(), rim.version()), ("of-the-tests", "96.00.74.00.1A"));
    assert_eq!((rim.manifest.product.as_str(), rim.manifest.switch), ("GH100", false));
    let switch = checked(&signed(&but(&document(), "edition=\"GPU\"", "edition=\"SWITCH\""))).expect("a manifest");
    assert!(switch.manifest.switch);
    assert_eq!(rim.manifest.active.keys().copied().collect::<Vec<_>>(), [0, 12]);
    assert_eq!(rim.manifest.active[&12], [[1; 48], [2; 48], [3; 48]]);
    assert_eq!(rim.valid_until, Time::parse("2027-01-01T00:00:00Z").expect("a time"));
}

#[test]
fn however_it_is_written_it_is_the_same_manifest() {
    let manifest = signed(&document());
    let expected = checked(&manifest);
    for (from, to) in [
        ("></Resource>", "/>"),
        ("></ds:Transform>", "  />"),
        ("</Payload>", "</Payload\n>"),
        (" name=\"GH100\" tagId=\"of-the-tests\"", "\n\ttagId =  'of-the-tests' name\n= \"GH100\" "),
        ("\"96.00.74.00.1A\"", "\"96.00.74.00.1&#65;\""),
        ("A &amp; B", "A &#x26; &#66;"),
        ("<Payload>", "<Payload xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\">"),
        ("<ds:SignatureValue>", "\n<ds:SignatureValue>\r\n "),
        ("<ds:X509Certificate>", "<ds:X509Certificate>\n"),
    ] {
        let edited = but(&manifest, from, to);
        // Between the parts of the signature there is nothing that is signed.
        assert_eq!(checked(&edited), expected, "{from}");
    }
    assert_eq!(checked(&manifest.replace('\n', "\r\n")), expected);
    assert_eq!(checked(&format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{manifest}\n")), expected);
    assert!(expected.is_ok());
}

#[test]
fn g7_nothing_that_is_signed_can_be_changed() {
    let manifest = signed(&document());
    for (from, to) in [
        ("96.00.74.00.1A", "96.00.74.00.1B"),
        ("of-the-tests", "of-the-test"),
        ("active=\"True\"", "active=\"False\""),
        ("index=\"0\"", "index=\"1\""),
        ("0101010101", "0101010102"),
        ("h:Hash1", "h:Hash9"),
        ("<Payload>\n", "<Payload>"),
        ("A &amp; B", "A and B"),
        ("name=\"Measurement_0\"", "name=\"Measurement_0 \""),
        (" xmlns:h=", " xmlns:i=\"u:i\" xmlns:h="),
        ("</Payload>\n", "</Payload>\n<Payload></Payload>"),
    ] {
        assert_eq!(checked(&but(&manifest, from, to)), Err(Rule::G7), "{from}");
    }
    let other = document().replace("1A", "1B");
    assert!(checked(&signed(&other)).is_ok());
    assert_eq!(checked(&with(&document(), &signature(&info(&other), &Chain::good()))), Err(Rule::G7), "another's");
    // The digest of the changed document in what was signed over the first one.
    let (first, second) = (info(&document()), info(&other));
    let moved = with(&other, &signature(&first, &Chain::good())).replace(&first, &second);
    assert_eq!(checked(&moved), Err(Rule::G7));
    let value = signature(&first, &Chain::good());
    let value = value.split("<ds:SignatureValue>").nth(1).expect("a value");
    for (from, to) in [(&value[..1], "_"), (&value[..4], ""), (&value[..4], "AAAA"), (&value[..1], "A")] {
        let edited = manifest.replace(value, &value.replacen(from, to, 1));
        assert_ne!(edited, manifest);
        let rule = if to.len() == from.len() && to != "_" { Rule::G7 } else { Rule::G5 };
        assert_eq!(checked(&edited), Err(rule), "{to}");
    }
}

#[test]
fn g5_a_signature_has_one_form() {
    let good = info(&document());
    let sha256 = "http://www.w3.org/2001/04/xmlenc#sha256";
    for (from, to) in [
        ("URI=\"\"", "URI=\"#of-the-tests\""),
        ("URI=\"\"", "Id=\"a\" URI=\"\""),
        (" URI=\"\"", ""),
        ("2006/12/xml-c14n11\"></ds:Can", "TR/2001/REC-xml-c14n-20010315\"></ds:Can"),
        ("#ecdsa-sha384", "#rsa-sha384"),
        ("http://www.w3.org/2001/04/xmldsig-more#sha384", sha256),
        ("#enveloped-signature", "#base64"),
        ("<ds:Transform Algorithm=\"http://www.w3.org/2000/09/xmldsig#enveloped-signature\"></ds:Transform>", ""),
        ("</ds:Transforms>", "<ds:Transform Algorithm=\"u:1\"></ds:Transform></ds:Transforms>"),
        ("<ds:Transforms>", "<ds:Transforms>text"),
        ("><ds:CanonicalizationMethod", " Id=\"a\"><ds:CanonicalizationMethod"),
        ("</ds:Reference>", "</ds:Reference><ds:Reference URI=\"\"></ds:Reference>"),
        ("</ds:DigestValue>", "AAAA</ds:DigestValue>"),
        ("<ds:DigestValue>", "<ds:DigestValue><ds:a></ds:a>"),
        ("#sha384\"></ds:DigestMethod>", "#sha384\"> </ds:DigestMethod>"),
    ] {
        let edited = with(&document(), &signature(&but(&good, from, to), &Chain::good()));
        // It is what the key signed: the form alone is wrong.
        assert!(xml::read(&edited).is_ok(), "{to}");
        assert_eq!(checked(&edited), Err(Rule::G5), "{to}");
    }
    let manifest = signed(&document());
    for (from, to) in [
        ("<ds:Signature ", "<ds:Signature Id=\"a\" "),
        ("</ds:Signature>", "<ds:Object></ds:Object></ds:Signature>"),
        ("</ds:KeyInfo>", "<ds:KeyName>a</ds:KeyName></ds:KeyInfo>"),
        ("</ds:KeyInfo>", "</ds:KeyInfo><ds:KeyInfo></ds:KeyInfo>"),
        ("<ds:X509Data>", "<ds:X509Data><ds:X509SubjectName>a</ds:X509SubjectName>"),
        ("xmldsig#\"><ds:SignedInfo", "other#\"><ds:SignedInfo"),
        ("<ds:SignatureValue>", "<ds:SignatureValue>text<ds:a/>"),
    ] {
        assert_eq!(checked(&but(&manifest, from, to)), Err(Rule::G5), "{to}");
    }
    assert_eq!(checked(&document()), Err(Rule::G5), "no signature");
}

#[test]
fn g5_what_is_wrapped_moved_or_signed_twice_is_refused() {
    let (good, original) = (document(), signed(&document()));
    let sealed = signature(&info(&good), &Chain::good());
    let evil = good.replace("1A", "FF").replace("of-the-tests", "evil");
    let (head, tail) = evil.split_at(evil.find("<Entity").expect("an entity"));
    let object =
        |inside: &str| sealed.replace("</ds:Signature>", &format!("<ds:Object>{inside}</ds:Object></ds:Signature>"));
    for (what, manifest) in [
        ("the original as a child of another", format!("{head}{original}{tail}")),
        ("the original in an object of the signature", with(&evil, &object(&good))),
        ("the signed original in an object of the signature", with(&evil, &object(&original))),
        ("another one in an object of the signature", with(&good, &object(&evil))),
        ("two signatures", with(&good, &format!("{sealed}{sealed}"))),
        ("a signature in the payload", but(&good, "</Payload>", &format!("{sealed}</Payload>"))),
        (
            "one in the payload, one at the end",
            with(&but(&good, "</Payload>", &format!("{sealed}</Payload>")), &sealed),
        ),
        ("a signature before the end", but(&good, "<Payload>", &format!("{sealed}<Payload>"))),
        ("a signature around the document", but(&sealed, "</ds:Signature>", &format!("{good}</ds:Signature>"))),
        ("text behind the signature's parts", with(&good, &but(&sealed, "</ds:Signature>", "text</ds:Signature>"))),
    ] {
        assert_eq!(checked(&manifest), Err(Rule::G5), "{what}");
    }
    // Elements of the document's own beside what was signed are part of what is signed.
    for (from, to) in [("<Payload>", "<Payload></Payload><Payload>"), ("</Payload>\n", "</Payload>\n<Meta></Meta>")] {
        assert_eq!(checked(&but(&original, from, to)), Err(Rule::G7), "{to}");
    }
    assert_eq!(checked(&but(&original, "</ds:Signature>", "</ds:Signature>\n")), Err(Rule::G7), "white space counts");
    let behind = but(&original, "</ds:Signature>", "</ds:Signature><Payload></Payload>");
    assert_eq!(checked(&behind), Err(Rule::G5), "the signature is not the last element");
}

#[test]
fn g5_nothing_but_elements_attributes_and_text() {
    let manifest = signed(&document());
    let mut bomb = String::from("<!DOCTYPE a [<!ENTITY e0 \"ha\">");
    for n in 1..20 {
        write!(bomb, "<!ENTITY e{n} \"{}\">", format!("&e{};", n - 1).repeat(10)).expect("a string");
    }
    bomb += "]>";
    let deep = "<a>".repeat(80_000);
    for edited in [
        format!("<!DOCTYPE SoftwareIdentity>{manifest}"),
        format!("{bomb}{}", but(&manifest, "A &amp; B", "&e19;")),
        but(&manifest, "A &amp; B", "A &nbsp; B"),
        but(&manifest, "<Payload>", "<Payload><!-- -->"),
        but(&manifest, "<Payload>", "<Payload><?a?>"),
        but(&manifest, "</Payload>", "<![CDATA[]]></Payload>"),
        but(&manifest, "index=\"0\"", "index=\"0\" index=\"0\""),
        but(&manifest, "h:Hash0=", "xmlns:i=\"http://www.w3.org/2001/04/xmlenc#sha384\" i:Hash0=\"00\" h:Hash0="),
        but(&manifest, "<Payload>", &format!("<Payload>{deep}")),
        but(&manifest, "<Payload>", &format!("<Payload>{}", " ".repeat(256 << 10))),
        deep,
    ] {
        assert_eq!(checked(&edited), Err(Rule::G5), "{edited:.60}");
    }
}

#[test]
fn g6_the_certificates_lead_to_the_root_and_hold() {
    let manifest = signed(&document());
    let check = |at: &str, root: &[u8]| {
        let at = Time::parse(at).expect("a time");
        verify(manifest.as_bytes(), root, at).err().map(|refusal| refusal.rule())
    };
    let good = Chain::good();
    assert_eq!(check("2026-12-31T23:59:59Z", good.root()), None);
    assert_eq!(check("2027-01-01T00:00:01Z", good.root()), Some(Rule::G6), "expired");
    assert_eq!(check("2024-12-31T23:59:59Z", good.root()), Some(Rule::G6), "not yet valid");
    assert_eq!(check("2026-01-01T00:00:00Z", &good.certificates[1]), Some(Rule::G6), "another root");
    assert_eq!(Rim::verify(manifest.as_bytes(), made::now()).err().map(|it| it.rule()), Some(Rule::G6), "not NVIDIA's");

    let with_chain = |chain: &Chain| with(&document(), &signature(&info(&document()), chain));
    let certifies = [made::authority(), usage(DIGITAL_SIGNATURE | KEY_CERT_SIGN)];
    for (what, chain, rule) in [
        ("no usage named", Chain::with_signer(&[]), None),
        ("may not sign data", Chain::with_signer(&[usage(KEY_CERT_SIGN)]), Some(Rule::G6)),
        ("an authority signs", Chain::with_signer(&certifies), Some(Rule::G6)),
        ("an issuer that is no authority", Chain::without_authority(), Some(Rule::G6)),
        ("for any purpose", Chain::with_signer(&[made::purposes(true, &[super::ANY_PURPOSE])]), None),
        ("a signer for revocation", Chain::for_revocation(true, false), Some(Rule::G6)),
        ("a signer for revocation, critical", Chain::for_revocation(true, true), Some(Rule::G6)),
        ("an authority for revocation", Chain::for_revocation(false, false), Some(Rule::G6)),
        ("a signer on another curve", Chain::with_other_curve(), Some(Rule::G7)),
    ] {
        assert_eq!(checked(&with_chain(&chain)).err(), rule, "{what}");
    }
    for (what, order, rule) in [
        ("root missing", &[0, 1][..], Rule::G6),
        ("authority missing", &[0, 2], Rule::G6),
        ("order", &[1, 0, 2], Rule::G6),
        ("signer missing", &[1, 2], Rule::G6),
        ("only the signer", &[0], Rule::G5),
        ("too many", &[0, 1, 2, 2, 2, 2, 2, 2, 2], Rule::G5),
    ] {
        let certificates = order.iter().map(|place: &usize| good.certificates[*place].clone()).collect();
        let mut chain = Chain::good();
        chain.certificates = certificates;
        assert_eq!(checked(&with_chain(&chain)), Err(rule), "{what}");
    }
    for place in 0..3 {
        for at in (0..good.certificates[place].len()).step_by(7) {
            let mut chain = Chain::good();
            chain.certificates[place][at] ^= 1;
            assert_eq!(checked(&with_chain(&chain)), Err(Rule::G6), "{at} of {place}");
        }
    }
}

#[test]
fn g5_what_is_signed_has_to_be_a_manifest() {
    let good = document();
    assert!(checked(&signed(&good)).is_ok());
    let long = "v".repeat(129);
    for (from, to) in [
        ("corpus=\"false\"", "corpus=\"true\""),
        ("name=\"GH100\" ", "name=\"GH100\" patch=\"true\" "),
        ("name=\"GH100\" ", "name=\"GH100\" supplemental=\"1\" "),
        ("tagId=\"of-the-tests\"", "tagId=\"\""),
        ("96.00.74.00.1A", "96.00.74 00.1A"),
        ("96.00.74.00.1A", &long),
        ("colloquialVersion=\"96.00.74.00.1A\" ", ""),
        (" product=\"GH100\"", ""),
        ("<Payload>\n", "<Payload>\ntext"),
        ("<Payload>\n", "<Payload>\n<Entity></Entity>"),
        ("</Payload>\n", "</Payload>\n<Payload></Payload>\n"),
        ("</Payload>\n", "</Payload>\n<Link></Link>\n"),
        ("role=\"tagCreator\"></Entity>", "role=\"tagCreator\">text</Entity>"),
        ("></Meta>", "><a></a></Meta>"),
        ("index=\"0\"", "index=\"12\""),
        ("index=\"0\"", "index=\"7\""),
        ("index=\"0\"", "index=\"00\""),
        ("index=\"0\"", "index=\"+0\""),
        ("index=\"0\"", "index=\"255\""),
        ("index=\"0\"", "index=\"256\""),
        ("index=\"0\"", "index=\"4294967296\""),
        ("index=\"0\"", "index=\"-1\""),
        ("alternatives=\"1\"", "alternatives=\"257\""),
        ("alternatives=\"1\"", "alternatives=\"18446744073709551617\""),
        ("size=\"48\"", "size=\"304\""),
        ("active=\"True\"", "active=\"true\""),
        ("active=\"True\" ", ""),
        ("alternatives=\"1\"", "alternatives=\"0\""),
        ("alternatives=\"1\"", "alternatives=\"2\""),
        ("alternatives=\"3\"", "alternatives=\"2\""),
        ("size=\"48\"", "size=\"32\""),
        ("size=\"48\"", "size=\"0\""),
        ("type=\"Measurement\"", "type=\"Other\""),
        (" type=\"Measurement\"", " type=\"Measurement\" unit=\"1\""),
        ("h:Hash0=\"00", "h:Hash0=\"0"),
        ("h:Hash0=\"00", "h:Hash0=\"0x"),
        ("h:Hash0", "h:Hash1"),
        ("></Resource>", "> </Resource>"),
    ] {
        let edited = signed(&but(&good, from, to));
        assert!(xml::read(&edited).is_ok(), "{to}");
        assert_eq!(checked(&edited), Err(Rule::G5), "{to}");
    }
    assert_eq!(checked(&signed(&good.replace("\"True\"", "\"False\""))), Err(Rule::G5), "nothing active");
    let (head, tail) =
        (good.split("<Resource").next().expect("a head"), good.split("</Payload>").nth(1).expect("a tail"));
    assert_eq!(checked(&signed(&format!("{head}</Payload>{tail}"))), Err(Rule::G5), "nothing at all");
    let other = good.replace("iso/19770/-2/2015", "iso/19770/-2/2009");
    let chain = Chain::good();
    let sealed = signature(&info(&other).replace("2015", "2009"), &chain);
    assert_eq!(checked(&with(&other, &sealed)), Err(Rule::G5), "another kind of tag");
}

#[test]
fn the_seed_of_the_fuzz_target_is_made_here() {
    let seed = include_str!("../../../../../fuzz/corpus/evidence_rim/signed");
    assert_eq!(seed, signed(&document()));
}
